"""What is particular to a cluster: ``slurm/site.yaml``, the one place to change when a site differs.

Nothing in the repository needs editing: every key has an environment variable, ``FRAMECAST_<KEY>``, and
``FRAMECAST_SITE=<file>`` puts another file in the place of this one.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from framecast import plain_yaml
from framecast.errors import UserError
from framecast.ranges import NonNegativeInt, PositiveFloat, PositiveInt
from framecast.study.mistakes import shown
from framecast.study.params import Section
from framecast.study.reading import read_section

AFFECTS_NUMBERS = False
SITE = Path("slurm/site.yaml")


def _text(pattern: str, words: str, longest: int) -> AfterValidator:
    """Text that matches a pattern, and is refused in words."""

    def of_this_form(text: str) -> str:
        if len(text) > longest or not re.fullmatch(pattern, text):
            raise ValueError(f"found {shown(text)}; allowed: {words}, at most {longest} letters")
        return text

    return AfterValidator(of_this_form)


#: These become words of an sbatch command, so they hold nothing that a shell reads.
Word = Annotated[str, _text(r"[A-Za-z0-9_.,:@+-]*", "letters, digits and any of _.,:@+-", 200)]
Expression = Annotated[str, _text(r"[A-Za-z0-9_.,&|*()\[\]-]*", "letters, digits and any of _.,&|*()[]-", 200)]
Flags = Annotated[
    str,
    _text(
        r"(--[A-Za-z0-9-]+(=[A-Za-z0-9_.,:@/+-]+)?( |$))*",
        "flags like --exclusive --mail-type=END, with one space between them",
        500,
    ),
]

#: A time limit as sbatch reads it, besides plain minutes: minutes:seconds, hours:minutes:seconds, and after ``days-``
#: hours, hours:minutes or hours:minutes:seconds.
LIMIT = re.compile(r"\d{1,7}:[0-5]\d|\d{1,5}:[0-5]\d:[0-5]\d|\d{1,4}-([01]?\d|2[0-3])(:[0-5]\d){0,2}", re.ASCII)


def minutes(limit: Any) -> Any:
    """The whole minutes of a time limit in one of Slurm's forms; what is no text is left to whoever checks it.

    Raises ValueError, in words, for a text that is none of them.

    >>> minutes("90:30"), minutes("24:00:00"), minutes("2-12"), minutes("1-00:30:00")
    (90, 1440, 3600, 1470)
    """
    if not isinstance(limit, str):
        return limit
    if not LIMIT.fullmatch(limit):
        told = "minutes (90), or as sbatch takes it: MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS"
        raise ValueError(f"found {shown(limit)}; allowed: {told}")
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if not days:
        parts = [0, *parts][-3:]  # without days, two parts are minutes and seconds
    hours, whole, _ = (*parts, 0, 0)[:3]
    return int(days or 0) * 1440 + hours * 60 + whole


#: sbatch's flags with a key of their own; and what says the same as a flag that only the plugin may set.
OWN_KEYS = {"--partition": "partition", "--account": "account", "--qos": "qos", "--constraint": "constraint"}
INSTEAD = {
    "--time": "walltime",
    "--mem": "memory_mb",
    "--cpus-per-task": "cpus",
    "--gres": "gpus and gpu_type",
    "--gpus": "gpus and gpu_type",
}


class Site(Section):
    """A cluster, as jobs need to know it."""

    partition: Word = ""
    cpu_partition: Word = ""
    account: Word = ""
    qos: Word = ""
    gpus: NonNegativeInt = 1
    gpu_type: Word = ""
    constraint: Expression = ""
    extra: Flags = ""
    device: Literal["cuda", "cpu"] = "cuda"
    cpus: PositiveInt = 2
    memory_mb: PositiveInt = 64_000
    walltime: Annotated[PositiveInt, BeforeValidator(minutes)] = 1440
    margin: NonNegativeInt = 300
    teraflops: PositiveFloat = 10.0


def load() -> Site:
    """Read the site file with the environment laid over it.

    Raises UserError (file or variable, found, allowed) for what is wrong, and for a margin that leaves no time. What
    the Slurm plugin refuses only ``refuse_flags`` tells: to ask it takes two seconds, which no job should pay.
    """
    file = Path(os.environ.get("FRAMECAST_SITE", SITE))
    if file == SITE and not file.exists():  # a copy of the pipeline without a cluster's settings
        return Site()
    site = read_section(file, Site, changes := {})
    for name in Site.model_fields:
        if (variable := f"FRAMECAST_{name.upper()}") in os.environ:
            changes[name] = _value(name, os.environ[variable])
            try:
                site = read_section(file, Site, changes)
            except UserError as error:
                raise UserError(f"environment: {variable}: {str(error).split(f'{name}: ', 1)[-1]}") from None
    site = _sorted(site, file)
    if site.margin >= 60 * site.walltime:
        raise UserError(
            f"{file}: margin: found {site.margin} s with a walltime of {site.walltime} minutes; allowed: less than that"
        )
    return site


def _sorted(site: Site, file: Path) -> Site:
    """Flags of ``extra`` that have a key of their own, put there: the Slurm plugin takes them as resources alone."""
    found: dict[str, str] = {}
    kept = []
    for flag in site.extra.split():
        name, _, value = flag.partition("=")
        if name not in OWN_KEYS or not value:
            kept.append(flag)
        elif (before := found.get(OWN_KEYS[name], getattr(site, OWN_KEYS[name]))) not in ("", value):
            raise UserError(f"{file}: extra: found {flag}, and {OWN_KEYS[name]}: {before}; allowed: one of them")
        else:
            found[OWN_KEYS[name]] = value
    return site.model_copy(update={**found, "extra": " ".join(kept)})


def refuse_flags(site: Site) -> None:
    """UserError for a flag of ``extra`` for which the Slurm plugin refuses every job, by the plugin's own list."""
    if not site.extra:
        return
    from snakemake_executor_plugin_slurm.validation import get_forbidden_slurm_options

    for pattern, name in get_forbidden_slurm_options().items():
        if re.search(pattern, site.extra):
            flag = next((flag for flag in site.extra.split() if re.search(pattern, f"{flag} ")), site.extra)
            instead = INSTEAD.get(flag.split("=")[0])
            cure = f"say {instead} instead" if instead else "leave it out"
            raise UserError(
                f"{os.environ.get('FRAMECAST_SITE', SITE)}: extra: found {flag}, which the Slurm plugin refuses as its "
                f"own ({name}); allowed: flags that it does not set; {cure}"
            )


def _value(name: str, written: str) -> Any:
    """The environment holds text; a key that holds a number takes the number that it would be in the file."""
    is_number = isinstance(Site.model_fields[name].default, int | float)
    return plain_yaml.number(written) if is_number else written
