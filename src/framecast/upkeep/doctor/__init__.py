"""Look at everything that a run needs, before the run does: one line per check, and what to do where it is not ok.

``ok`` is fine or not needed here, ``warning`` may matter later, ``problem`` stops a run. Every check stands alone:
where something is broken, the others still tell what they find. Nothing is left behind, and besides Slurm's controller
nobody on the network is asked; its commands have ten seconds each.
"""

from collections.abc import Callable, Iterable, Iterator

from framecast.errors import UserError
from framecast.upkeep.doctor import cluster, disk, environment, leftovers, recording, study
from framecast.upkeep.doctor.findings import Line
from framecast.upkeep.doctor.surroundings import Surroundings

AFFECTS_NUMBERS = False

Check = Callable[[Surroundings], Iterable[Line]]
CHECKS: tuple[Check, ...] = (
    environment.python,
    environment.torch,
    environment.programs,
    environment.compiler,
    study.study,
    study.raw_data,
    study.mirror,
    disk.disk,
    disk.permissions,
    disk.links,
    disk.sharing,
    disk.locks,
    recording.dvc_remote,
    recording.licences,
    leftovers.leftovers,
    cluster.slurm,
    cluster.site,
)


def doctor() -> None:
    """Print one line per check. Raises UserError with their number when there are problems."""
    surroundings, problems = Surroundings(), 0
    for check in CHECKS:
        for line in _safely(check, surroundings):
            problems += line.level == "problem"
            print(line, flush=True)
    if problems:
        counted = "1 problem" if problems == 1 else f"{problems} problems"
        raise UserError(f"doctor: found {counted}; each line that starts with `problem` says what to do")


def _safely(check: Check, surroundings: Surroundings) -> Iterator[Line]:
    """A check that cannot be made is told like any other finding."""
    about = check.__name__.replace("_", " ")
    try:
        yield from check(surroundings)
    except UserError as error:
        yield Line("problem", about, str(error))
    except Exception as error:  # a doctor that falls ill over what is broken here would help nobody
        found = f"the check failed with {type(error).__name__}: {' '.join(str(error).split())}"
        yield Line("problem", about, found, "mend what it names, or report it as a fault of framecast")
