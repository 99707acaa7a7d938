"""What Slurm's own commands say: live jobs, final states, partitions. No answer is None or empty, never a failure."""

import math
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

AFFECTS_NUMBERS = False
SECONDS = 20  #: to wait for an answer
LOGS = Path(".snakemake/slurm_logs")  #: where the executor keeps what the jobs printed that failed

#: What slurmstepd writes into the log of a job that it or the kernel has killed; not every cluster has a state for it.
OVER_MEMORY = re.compile(rb"exceeded (job |step )?memory limit|oom[-_ ]kill", re.IGNORECASE)


@dataclass(frozen=True)
class Job:
    """A job of this repository that is waiting or running; ``comment`` names its rule and wildcards."""

    id: str
    state: str
    reason: str
    comment: str


@dataclass(frozen=True)
class Partition:
    """Limits of a partition; minutes is None where there is no limit."""

    name: str
    default: bool
    minutes: float | None
    memory_mb: int
    cpus: int
    gres: str


def jobs() -> list[Job] | None:
    """The jobs of this user that wait or run in this folder; None where no controller answers."""
    told = _ask("squeue", "--noheader", "--me", "--format=%i|%T|%r|%Z|%k")
    if told is None:
        return None
    rows = [line.split("|", 4) for line in told.splitlines() if line.count("|") >= 4]
    here = Path.cwd().resolve()
    return [Job(id, state, reason, comment) for id, state, reason, folder, comment in rows if Path(folder) == here]


@dataclass(frozen=True)
class Limits:
    """What the present job was given, and the seconds that it has left; None where it has no end."""

    mb: int
    minutes: int
    cpus: int
    seconds_left: float | None


def limits() -> Limits | None:
    """The limits of the job that this process runs in; None outside of a job or where no controller answers."""
    job = os.environ.get("SLURM_JOB_ID")
    told = _ask("squeue", "--noheader", f"--jobs={job}", "--format=%m|%l|%C|%L") if job else None
    if not told or told.count("|") != 3:
        return None
    memory, limit, cpus, left = told.strip().split("|")
    minutes, seconds = _minutes(limit), _minutes(left)
    return Limits(_megabytes(memory), math.ceil(minutes or 0), _number(cpus), None if seconds is None else 60 * seconds)


def state_of(job: str) -> str:
    """The last state that accounting or the controller remembers of a job; empty where neither does."""
    for ask in (
        ("sacct", "--noheader", "--parsable2", "--allocations", "--format=State", f"--jobs={job}"),
        ("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}"),
    ):
        if told := (_ask(*ask) or "").split():
            return told[0].rstrip("+")
    return ""


def killed_over_memory(job: str) -> bool:
    """Whether the log of a job says that it was killed for its use of memory."""
    for path in LOGS.glob(f"*/*/{job}.log"):
        try:
            if OVER_MEMORY.search(path.read_bytes()):
                return True
        except OSError:
            continue
    return False


def partitions() -> list[Partition] | None:
    """Every partition with its limits; None where no controller answers."""
    told = _ask("sinfo", "--noheader", "--format=%P|%l|%m|%c|%G")
    return None if told is None else list(_partitions(told))


def requeue() -> str:
    """Ask Slurm to run this very job again, with the same id; empty when it will, else why not."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
    if not job:
        return "this is not a Slurm job"
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return "" if done.returncode == 0 else " ".join(done.stderr.split()) or f"scontrol: exit {done.returncode}"


def _partitions(told: str) -> Iterator[Partition]:
    for name, limit, memory, cpus, gres in (line.split("|", 4) for line in told.splitlines() if line.count("|") >= 4):
        yield Partition(
            name.rstrip("*"),
            name.endswith("*"),
            _minutes(limit),
            _number(memory),
            _number(cpus),
            gres.replace("(null)", ""),
        )


def _minutes(limit: str) -> float | None:
    """``[days-]hours:minutes:seconds``, ``minutes:seconds`` or ``infinite``."""
    if (found := re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)) is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return days * 1440 + hours * 60 + minutes + seconds / 60


def _megabytes(text: str) -> int:
    """``300M``, ``4G`` or ``1.50G`` of squeue, in MiB as in the request."""
    if (found := re.fullmatch(r"([\d.]+)([KMGT]?)", text)) is None:
        return 0
    return round(float(found[1]) * {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2}[found[2]])


def _number(text: str) -> int:
    """The digits of a figure like ``16000+``."""
    return int(re.sub(r"\D", "", text) or 0)


def _ask(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
