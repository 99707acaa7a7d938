"""The program that drives a grid: only one at a time, and how to go on where it died.

While Snakemake runs jobs it holds the lock ``.snakemake/framecast-driver.lock``, and beside it
``framecast-driver.json`` says on which host, as which process and with which command. The record is gone when Snakemake
ends by itself; one whose lock nobody holds was left by a driver that was killed. Between the stages of ``dvc repro``
DVC's own lock file tells the same.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecast.artifacts import read_json, write_json
from framecast.artifacts.locks import Lock
from framecast.cluster import lease, slurm
from framecast.errors import UserError
from framecast.study.grid import CHECKPOINTS

if TYPE_CHECKING:
    import psutil

AFFECTS_NUMBERS = False
RECORD = Path(".snakemake/framecast-driver.json")
LOCK = RECORD.with_suffix(".lock")
LOCKS = Path(".snakemake/locks")
RWLOCK = Path(".dvc/tmp/rwlock")
WRITING = {"fetch", "prepare", "probe", "train", "evaluate", "tables", "report", "prune"}
POLL_SECONDS = 5
MOMENT = 2.0  #: seconds for which somebody who only looks may hold the lock
WATCH = "`framecast status --watch` shows how far it is"

#: Options with which Snakemake runs nothing, in full and as the beginnings of families; -n may stand among others.
LOOKING = {"--dry-run", "--dryrun", "--unlock", "--lint", "--summary", "--detailed-summary", "--help", "--version"}
FAMILIES = ("--list", "--dag", "--rulegraph", "--filegraph", "--d3dag", "--report", "--archive", "--print", "--export")
SHORT = re.compile(r"-([FfkpqRri]*n[a-zA-Z]*|[SDlhv])")

_held: list[contextlib.ExitStack] = []  #: the lock of the driver that this process is


@dataclass(frozen=True)
class Record:
    """A driver: where it runs, as what, and what it takes to start it again."""

    host: str
    pid: int
    command: list[str]
    job: str | None = None  #: the Slurm job that the driver itself runs in
    environment: dict[str, str] = field(default_factory=dict)  #: settings that its command line does not show

    @property
    def uses_slurm(self) -> bool:
        """Whether it hands jobs to Slurm, as far as can be told from its command and profile."""
        return "slurm" in " ".join([*self.command, self.environment.get("SNAKEMAKE_PROFILE", "")])


# --- in Snakemake ---------------------------------------------------------------------------------------------------


def refuse_a_second(command: Sequence[str]) -> None:
    """Called while Snakemake reads its rules: UserError, in time and in our words, where another driver is at work.

    What Snakemake is told by its command may only be a look; that is never refused. ``started`` asks once more, when it
    is certain that jobs will run.
    """
    if any(word in LOOKING or word.startswith(FAMILIES) or SHORT.fullmatch(word) for word in command[1:]):
        return
    with contextlib.ExitStack() as stack:
        _become_the_only_driver(stack)
    if any(LOCKS.glob("*.lock")) and "--nolock" not in command:
        for process, told in _processes({}):  # it may have locked the folder, and not yet have come to its jobs
            raise UserError(f"this grid is already being run here, by process {process.pid} ({told}); {WATCH}")
        raise UserError("a driver was killed here, and nothing of it is alive; `framecast resume` goes on where it was")


def started(command: Sequence[str]) -> None:
    """Called by Snakemake when it begins to run jobs; ends it with one line where another driver is at work.

    Inside a DVC stage the command to go on with is DVC's.
    """
    try:
        with contextlib.ExitStack() as stack:
            _become_the_only_driver(stack, MOMENT)
            _held.append(stack.pop_all())
    except UserError as error:
        sys.exit(f"framecast: {error}")
    told = _dvc_command() if "DVC_STAGE" in os.environ else ["snakemake", *command[1:]]
    write_json(
        RECORD,
        asdict(Record(socket.gethostname(), os.getpid(), told, os.environ.get("SLURM_JOB_ID"), _settings())),
    )


def ended() -> None:
    """Called by Snakemake when it ends by itself, well or not. What another driver recorded stays."""
    if _held:
        RECORD.unlink(missing_ok=True)
        _held.pop().close()


def _become_the_only_driver(stack: contextlib.ExitStack, seconds: float = 0.0) -> None:
    """Take this folder's lock, or raise UserError naming who works here."""
    left = _record()
    if not stack.enter_context(_lock(seconds)):
        raise UserError(f"this grid is already being run here, by {_who(left)}; {WATCH}")
    if left is not None:
        _refuse_after_a_kill(left)
    _refuse_beside_dvc()


@contextlib.contextmanager
def _lock(seconds: float = 0.0) -> Iterator[bool]:
    """Hold the lock of this folder's driver; false when another holds it for longer than these seconds."""
    with Lock(LOCK) as lock:
        yield lock.take(seconds)


def _who(record: Record | None) -> str:
    if record is None:
        return "a driver that is just starting"
    return f"process {record.pid} on {record.host} ({shlex.join(record.command)})"


def _refuse_after_a_kill(left: Record) -> None:
    if alive := living(left, left):
        raise UserError(
            f"a driver was killed here, and still alive: {'; '.join(alive)}; "
            "`framecast resume --wait` waits for that and goes on"
        )


def _refuse_beside_dvc() -> None:
    """Between its stages DVC runs no Snakemake, and yet the folder is its own."""
    for pid, command in _dvc_holders():
        if "repro" in command and _is_dvc(pid) and pid not in _ourselves():
            raise UserError(f"this grid is already being run here, by process {pid} ({_short(command)}); {WATCH}")


def _dvc_command() -> list[str]:
    """The command line of the DVC that runs this stage."""
    import psutil

    for parent in psutil.Process().parents():
        with contextlib.suppress(psutil.Error):
            words = _words(parent)
            if words[:1] == ["dvc"] and "repro" in words:
                return words
    return ["dvc", "repro"]


def _settings() -> dict[str, str]:
    """The environment's part of a command: the profile, and what is set of slurm/site.yaml."""
    from framecast.cluster.site import Site

    names = ["SNAKEMAKE_PROFILE", "FRAMECAST_SITE", *(f"FRAMECAST_{name.upper()}" for name in Site.model_fields)]
    return {name: os.environ[name] for name in names if name in os.environ}


# --- resume ---------------------------------------------------------------------------------------------------------


def resume(command: Sequence[str] = (), *, wait: bool = False) -> None:
    """Clear what a killed driver left, then become the command that goes on: the interrupted one, or ``command``.

    Raises UserError, and changes nothing, while anything of this folder is alive: jobs, drivers, training processes.
    With ``wait`` it waits for them instead. Nothing that is finished is deleted, and what was not finished goes on
    from its checkpoint.
    """
    left = _record()
    going_on = _going_on(left, command)
    program = _program(going_on.command[0])
    with contextlib.ExitStack() as stack:
        stack.enter_context(_when_nobody_is_alive(left, going_on, wait))
        for line in clear():
            print(f"framecast: {line}", file=sys.stderr)
        print(f"framecast: going on with {shlex.join(going_on.command)}", file=sys.stderr, flush=True)
        path = f"{Path(program).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        os.execve(program, going_on.command, {**going_on.environment, **os.environ, "PATH": path})


def _going_on(left: Record | None, command: Sequence[str]) -> Record:
    """What is to be started: ``command``, else what was interrupted."""
    if command:
        return Record(socket.gethostname(), os.getpid(), list(command), environment=_settings())
    if left is not None:
        return left
    for pid, words in _dvc_holders():
        if "repro" in words and not _is_dvc(pid):
            return Record(socket.gethostname(), pid, ["dvc", *words[1:]], environment=_settings())
    raise UserError(
        f"resume: no interrupted run is recorded in {Path.cwd()}; say which command goes on: "
        "`framecast resume snakemake --profile slurm`"
    )


def _program(name: str) -> str:
    """Where the engine lies: beside this Python, else on PATH."""
    beside = Path(sys.executable).parent
    if name not in ("snakemake", "dvc"):
        raise UserError(f"resume: found {name!r}; allowed: --wait, or a command: snakemake … or dvc repro")
    found = shutil.which(name, path=str(beside)) or shutil.which(name)
    if found is None:
        raise UserError(f"resume: found no program {name!r} in {beside} or on PATH; install it there")
    return found


@contextlib.contextmanager
def _when_nobody_is_alive(left: Record | None, going_on: Record, wait: bool) -> Iterator[None]:
    """Hold the driver's lock in a folder where nothing lives, so that of two that resume only one goes on."""
    told: list[str] = []
    while True:
        with _lock() as is_ours:
            alive = living(left, going_on) or ([] if is_ours else [_who(_record())])
            if not alive:
                yield
                return
        if not wait:
            raise UserError(
                f"resume: still alive: {'; '.join(alive)}; wait with `framecast resume --wait`, or end them first"
            )
        if alive != told:
            print(f"framecast: waiting for {'; '.join(alive)}", file=sys.stderr, flush=True)
            told = alive
        time.sleep(POLL_SECONDS)


# --- what is alive --------------------------------------------------------------------------------------------------


def living(left: Record | None, going_on: Record) -> list[str]:
    """Everything of this folder that is alive, in words; asked of Slurm, of this machine and of the leases.

    Raises UserError where that cannot be known: the controller does not answer, or the driver was on another machine.
    """
    queued = slurm.jobs()
    if queued is None and (going_on.uses_slurm or (left is not None and left.uses_slurm)):
        raise UserError(
            "resume: the Slurm controller does not answer, so its jobs may be alive; try again when it does"
        )
    ours = os.environ.get("SLURM_JOB_ID")
    jobs = {job.id: job for job in sorted(queued or (), key=_number) if job.id != ours}
    _refuse_a_driver_elsewhere(left, None if queued is None else jobs)
    processes = {process.pid: told for process, told in _processes(jobs)}
    return [
        *_in_words(list(jobs.values())),
        *(f"process {pid} ({told})" for pid, told in processes.items()),
        *_leases(None if queued is None else jobs, processes),
    ]


def _refuse_a_driver_elsewhere(left: Record | None, jobs: dict[str, slurm.Job] | None) -> None:
    """One that itself ran in a Slurm job can be asked for from anywhere; any other only where it ran."""
    if left is None or left.host == socket.gethostname():
        return
    if left.job is not None and jobs is not None:
        return  # its job is among those that live, or it is dead
    raise UserError(
        f"resume: the driver was started on {left.host} (process {left.pid}), which cannot be seen from "
        f"here; run `framecast resume` there, or delete {RECORD} if that machine is gone"
    )


def _number(job: slurm.Job) -> list[int]:
    """For an order in which 9 comes before 10, and 10_2 after it."""
    return [int(digits) for digits in re.findall(r"\d+", job.id)]


def _in_words(jobs: list[slurm.Job]) -> Iterator[str]:
    if jobs:
        yield f"{len(jobs)} Slurm job{'s' * (len(jobs) > 1)} (scancel {' '.join(job.id for job in jobs)})"
    if held := [job.id for job in jobs if "held" in job.reason.lower()]:
        yield f"of these held by Slurm: scontrol release {' '.join(held)}"


def _leases(jobs: dict[str, slurm.Job] | None, processes: dict[int, str]) -> Iterator[str]:
    """Cells that are being trained by something that was not found otherwise."""
    for folder in sorted(path.parent for path in CHECKPOINTS.rglob("lease.lock")):
        who = lease.holder(folder)
        if who is None or (who.job is not None and jobs is not None):  # Slurm has told of its job already
            continue
        if who.host == socket.gethostname() and _has_ancestor(who.pid, processes):
            continue
        yield f"{folder.relative_to(CHECKPOINTS).parent}: {who}"


def _processes(jobs: dict[str, slurm.Job]) -> Iterator[tuple["psutil.Process", str]]:
    """Drivers and verbs that run in this folder, without ourselves, those that started us, and Slurm's jobs.

    Of a process and what it has started only the first is named.
    """
    import psutil

    here, ours = Path.cwd().resolve(), _ourselves()
    found: dict[int, tuple[psutil.Process, str]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in ours or process.status() == psutil.STATUS_ZOMBIE:
                continue
            words = _words(process)
            if _works(words) and _is_here(process, words, here) and _job_of(process) not in jobs:
                stopped = ", stopped" if process.status() == psutil.STATUS_STOPPED else ""
                found[process.pid] = process, _short(words) + stopped
    for pid, (process, told) in found.items():
        if not _has_ancestor(pid, found.keys() - {pid}):
            yield process, told


def _ourselves() -> set[int]:
    import psutil

    return {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}


def _is_here(process: "psutil.Process", words: list[str], here: Path) -> bool:
    """DVC may have been started in a subfolder; everything else works where it stands."""
    where = Path(process.cwd())
    return where == here or (words[0] == "dvc" and here in where.parents)


def _job_of(process: "psutil.Process") -> str:
    """The Slurm job that a process belongs to; empty where that is none or may not be seen."""
    return str(process.environ().get("SLURM_JOB_ID", ""))


def _has_ancestor(pid: int, among: Any) -> bool:
    """Whether a process, or one that it descends from, is among these."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return pid in among or any(parent.pid in among for parent in psutil.Process(pid).parents())
    return False


def _words(process: "psutil.Process") -> list[str]:
    """A command line that begins with the program's name, whatever interpreter it was started with."""
    words = process.cmdline()
    if words and Path(words[0]).name.startswith("python"):
        words = words[1:]
        while words and words[0].startswith("-") and words[0] != "-m":
            words = words[1:]
        words = words[words[:1] == ["-m"] :]
    return [Path(words[0]).name, *words[1:]] if words else []


def _works(words: list[str]) -> bool:
    """Whether a command line is that of something that writes; looking on (status, logs) harms nobody."""
    if words[:1] == ["framecast"]:
        return bool(WRITING & set(words[1:2]))
    return words[:1] == ["snakemake"] or (words[:1] == ["dvc"] and "daemon" not in words[1:2])


def _short(words: Sequence[str]) -> str:
    told = shlex.join(words)
    return told if len(told) <= 80 else f"{told[:79]}…"


# --- what the dead leave --------------------------------------------------------------------------------------------


def clear() -> Iterator[str]:
    """Remove what dead processes left: locks, marks, stale leases, half-written files. Says what was removed."""
    for what, paths in (
        ("Snakemake's lock", LOCKS.glob("*")),
        ("marks of interrupted jobs", Path(".snakemake/incomplete").rglob("*")),
        ("stale leases", _stale_leases()),
        ("half-written files", _partials()),
    ):
        found = [path for path in paths if path.is_file()]
        for path in found:
            path.unlink(missing_ok=True)
        if found:
            yield f"removed {what} ({len(found)})"
    if _clear_rwlock():
        yield "removed DVC's lock of dead processes"
    RECORD.unlink(missing_ok=True)


def _stale_leases() -> Iterator[Path]:
    """A fresh heartbeat stays: should its writer live after all, whoever trains next will see it beat."""
    for path in CHECKPOINTS.rglob("lease.json"):
        if lease.holder(path.parent) is None:
            yield path


def _partials() -> Iterator[Path]:
    """Temporary files of ``artifacts.replacing``, whose writer is dead."""
    for root in (Path("data"), Path("reports"), Path("logs"), RECORD.parent):
        yield from root.rglob(".*.partial")


def _clear_rwlock() -> bool:
    """Drop the readers and writers of DVC's lock that no longer live; all of it where it was cut off."""
    try:
        lock = json.loads(RWLOCK.read_text(encoding="utf-8"))
        read = {path: [one for one in ones if _is_dvc(one["pid"])] for path, ones in lock.get("read", {}).items()}
        write = {path: one for path, one in lock.get("write", {}).items() if _is_dvc(one["pid"])}
    except OSError:
        return False
    except (ValueError, TypeError, KeyError, AttributeError):
        RWLOCK.unlink()
        return True
    kept = {name: ones for name, ones in read.items() if ones}, write
    if kept == (lock.get("read", {}), lock.get("write", {})):
        return False
    if any(kept):
        write_json(RWLOCK, {"read": kept[0], "write": kept[1]})
    else:
        RWLOCK.unlink()
    return True


def _dvc_holders() -> Iterator[tuple[int, list[str]]]:
    """Processes and commands in DVC's lock, alive or not; none where it cannot be read."""
    try:
        lock = json.loads(RWLOCK.read_text(encoding="utf-8"))
        holders = [*lock.get("write", {}).values(), *(one for ones in lock.get("read", {}).values() for one in ones)]
        found = {int(one["pid"]): str(one["cmd"]).split() for one in holders}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return
    yield from found.items()


def _is_dvc(pid: int) -> bool:
    """Whether a process lives and is DVC: numbers of the dead are given again."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return _words(psutil.Process(pid))[:1] == ["dvc"]
    return False


def _record() -> Record | None:
    try:
        found: dict[str, Any] = read_json(RECORD)
        return Record(**found) if isinstance(found["command"], list) and found["command"] else None
    except (OSError, UserError, KeyError, TypeError):
        return None
