"""How every attempt at a cell went: one small JSON file per attempt, outside both engines.

    logs/attempts/<phase>/<cell>/<key>/<number>.json

An attempt writes its file when it begins, again with every heartbeat, and when it ends. One that was killed never
writes its end, and one that a signal stopped does not know who sent it: ``explained`` asks Slurm what it remembers,
reads what it wrote into the job's log, and else judges by the last heartbeat: at its memory limit it was out of memory,
at its time limit out of time, else lost. The next attempt's request, ``framecast status`` and the efficiency table all
read these files; no accounting database is needed.
"""

import contextlib
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from framecast.artifacts import read_json, write_json
from framecast.cluster import machine
from framecast.errors import NotFinished, UserError

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

AFFECTS_NUMBERS = False
ATTEMPTS = Path("logs/attempts")
HEARTBEAT_SECONDS = 10
YOUNG = 5  #: heartbeats come sooner at first, five while the age of an attempt doubles or so: somebody looks on
LOOK_SECONDS = 0.5  #: memory that grows is written down at once, for the heartbeat may never come
SILENT_SECONDS = 120  #: without a heartbeat for so long, an attempt on another machine counts as dead
GROWN = 1.1  #: times what was last written down
NEARLY = 0.9  #: of a limit counts as having met it; heartbeats come too late to see the last of it

Phase = Literal["train", "evaluate"]
Outcome = Literal[
    "", "done", "stopped", "failed", "out of memory", "out of time", "cancelled", "machine lost", "requeued"
]  #: "" while it runs, and until ``explained`` where it was killed; the last five are Slurm's word


@dataclass(frozen=True)
class Asked:
    """What the job of an attempt asked the cluster for."""

    mb: int = 0
    minutes: int = 0
    cpus: int = 0


@dataclass(frozen=True)
class Attempt:
    """One attempt. Times are UNIX seconds; memory is MB of 10⁶ bytes, as Slurm's requests are MiB, near enough."""

    number: int
    host: str
    pid: int
    job: str | None  #: Slurm's job id
    begun: float
    heartbeat: float
    step: int = 0
    steps: int = 0
    rate: float = 0.0  #: steps a second over this attempt
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0  #: resident memory at its highest
    device: str = "cpu"
    gpu_peak_mb: float = 0.0
    gpu_busy: float = 0.0  #: mean utilisation in the heartbeats, 0 to 1
    asked_mb: int = 0  #: what was asked of the cluster; 0 outside a job
    asked_minutes: int = 0
    asked_cpus: int = 0
    outcome: Outcome = ""
    reason: str = ""  #: why it stopped or failed, in one line
    processor: str = ""  #: of the machine, as are the three below; empty and 0 where an older attempt does not say
    cores: int = 0
    memory_mb: int = 0
    platform: str = ""
    gpu: str = ""  #: empty on a CPU

    @property
    def seconds(self) -> float:
        """How long it ran, as far as is known."""
        return self.heartbeat - self.begun

    @property
    def alive(self) -> bool:
        """Whether its process runs; on another machine, whether it has been heard of lately."""
        if self.outcome:
            return False
        if self.host == socket.gethostname():
            return _process_began(self.pid) == self.begun  # another process may have its number by now
        return abs(time.time() - self.heartbeat) < SILENT_SECONDS

    @property
    def ending(self) -> str:
        """An outcome, or running, or lost."""
        if self.outcome:
            return self.outcome
        if self.alive:
            return "running"
        if self.asked_mb and self.peak_mb >= NEARLY * self.asked_mb:
            return "out of memory"
        if self.asked_minutes and self.seconds + HEARTBEAT_SECONDS >= NEARLY * 60 * self.asked_minutes:
            return "out of time"
        return "lost"

    @property
    def cause(self) -> str:
        """The ending in one line, with the numbers that it was judged by."""
        return {
            "out of memory": f"out of memory: peak {self.peak_mb:.0f} MB of {self.asked_mb} MB",
            "out of time": f"out of time: {self.seconds / 60:.0f} of {self.asked_minutes} minutes",
            "lost": f"lost {self.seconds:.0f} s after it began: killed, cancelled or its machine went down",
        }.get(self.ending, self.reason or self.ending)


def attempts(phase: Phase, cell: str, key: str) -> list[Attempt]:
    """Every attempt at a cell under its present key, oldest first. A file that is not whole is passed over."""
    return list(_read(folder(phase, cell, key)))


def folder(phase: Phase, cell: str, key: str) -> Path:
    """Where the attempts at a cell lie."""
    return ATTEMPTS / phase / cell / key


@contextmanager
def attempt(phase: Phase, cell: str, key: str, device: str, asked: Asked) -> Iterator["Recorder"]:
    """Record the block as an attempt; its exceptions pass through and are its reason."""
    recorder = Recorder(folder(phase, cell, key), device, asked)
    try:
        with recorder.beating():
            yield recorder
    except NotFinished as stop:
        recorder.end("stopped", str(stop))
        raise
    except BaseException as fault:
        recorder.end("failed", str(fault) or type(fault).__name__)
        raise
    recorder.end("done", "")


class Recorder:
    """Writes one attempt's file. A file that cannot be written never ends a run: it only tells about it."""

    def __init__(self, where: Path, device: str, asked: Asked) -> None:
        number = max((found.number for found in _read(where)), default=0) + 1
        now, job = time.time(), os.environ.get("SLURM_JOB_ID")
        self.path = where / f"{number}.json"
        self.now = Attempt(
            number,
            socket.gethostname(),
            os.getpid(),
            job,
            _process_began(os.getpid()) or now,
            now,
            device=device,
            asked_mb=asked.mb,
            asked_minutes=asked.minutes,
            asked_cpus=asked.cpus,
            gpu=_gpu_name(device),
            **asdict(machine.here()),
        )
        self.busy: list[float] = []
        self.first_step: int | None = None
        self._write()

    def step(self, step: int, steps: int, loss: float) -> None:
        """Progress of the training loop; kept in memory until the next heartbeat."""
        if self.first_step is None:
            self.first_step, self.first_time = step, time.monotonic()
        done, seconds = step - self.first_step, time.monotonic() - self.first_time
        self.now = replace(self.now, step=step, steps=steps, rate=done / seconds if done and seconds else 0.0)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Write a heartbeat again and again while the block lasts."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(LOOK_SECONDS):
                now, begun = time.time(), self.now.begun
                if now - self.now.heartbeat >= min(HEARTBEAT_SECONDS, (now - begun) / YOUNG):
                    self._sample_gpu()
                    self._write()
                elif _peak_mb() > GROWN * self.now.peak_mb:
                    self._write()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def end(self, outcome: Outcome, reason: str) -> None:
        """Write how it ended."""
        self.now = replace(self.now, outcome=outcome, reason=" ".join(reason.split()))
        self._write()

    def _write(self) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        self.now = replace(
            self.now,
            heartbeat=time.time(),
            cpu_seconds=used.ru_utime + used.ru_stime,
            peak_mb=_peak_mb(),
            gpu_peak_mb=_gpu_peak_mb(self.now.device),
            gpu_busy=sum(self.busy) / len(self.busy) if self.busy else 0.0,
        )
        with contextlib.suppress(OSError):
            write_json(self.path, asdict(self.now))

    def _sample_gpu(self) -> None:
        if self.now.device.startswith("cuda") and (busy := _gpu_busy()) is not None:
            self.busy.append(busy)


def _process_began(pid: int) -> float | None:
    """When a process of this machine began, in UNIX seconds; None where there is none of that number, or a dead one."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _read(where: Path) -> Iterator[Attempt]:
    known = {field.name for field in fields(Attempt)}
    for path in sorted(where.glob("*.json"), key=lambda path: int(path.stem) if path.stem.isdigit() else 0):
        try:
            found: dict[str, Any] = read_json(path)
            yield Attempt(**{name: value for name, value in found.items() if name in known})
        except (UserError, OSError, TypeError, AttributeError):
            continue


def _gpu_name(device: str) -> str:
    if not device.startswith("cuda"):
        return ""
    import torch

    return torch.cuda.get_device_name(device)


def _gpu_peak_mb(device: str) -> float:
    if not device.startswith("cuda"):
        return 0.0
    import torch

    return torch.cuda.max_memory_allocated() / 1e6


def _gpu_busy() -> float | None:
    """The utilisation of the job's first GPU, 0 to 1, as nvidia-smi says; None where it does not."""
    import subprocess

    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"
    ask = ["nvidia-smi", f"--id={first}", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(ask, capture_output=True, text=True, timeout=5, check=True).stdout
        return float(told.split()[0]) / 100
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def last(grid: "Grid", cell: "Cell", phase: Phase) -> Attempt | None:
    """The newest attempt at a cell under its present key."""
    found = attempts(phase, cell.name, _key(grid, cell, phase))
    return found[-1] if found else None


def explained(grid: "Grid", cell: "Cell", phase: Phase) -> list[Attempt]:
    """Every attempt at a cell; of those ended from outside, what Slurm knows is found out and written down."""
    where = folder(phase, cell.name, _key(grid, cell, phase))
    found = list(_read(where))
    return [_explain(one, found[number:], where) for number, one in enumerate(found, 1)]


def _key(grid: "Grid", cell: "Cell", phase: Phase) -> str:
    return grid.run_key(cell) if phase == "train" else grid.score_key(cell)


def _explain(found: Attempt, later: list[Attempt], where: Path) -> Attempt:
    """Why an attempt ended that somebody else has ended, or ``found`` itself where nobody knows more than it does."""
    signalled = found.outcome == "stopped" and ": received SIGTERM; " in found.reason
    if found.job is None or found.alive or (found.outcome and not signalled):
        return found
    if (verdict := _verdict(found.job, again=any(other.job == found.job for other in later))) is None:
        return found
    outcome, told = verdict
    saved = f"; {found.reason.split('; ')[-1]}" if signalled else ""
    reason = f"{outcome}: {told}; peak {found.peak_mb:.0f} MB of {found.asked_mb} MB{saved}"
    explained = replace(found, outcome=outcome, reason=reason)
    with contextlib.suppress(OSError):
        write_json(where / f"{found.number}.json", asdict(explained))
    return explained


def _verdict(job: str, *, again: bool) -> tuple[Outcome, str] | None:
    """What ended a job, and how we know; ``again`` says that it has run once more since."""
    from framecast.cluster import slurm

    state = slurm.state_of(job)
    if again or state in _QUEUED_AGAIN:
        return "requeued", f"Slurm took job {job} from its machine, lost or given to another job, and queued it again"
    if (outcome := _ENDED_BY.get(state)) is not None:
        return outcome, f"Slurm says {state} of job {job}"
    if slurm.killed_over_memory(job):
        return "out of memory", f"Slurm killed job {job}"
    return None


#: States of a job whose attempt is over: it will have another.
_QUEUED_AGAIN = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")

#: Slurm's final states, as outcomes of an attempt that could not write its own.
_ENDED_BY: dict[str, Outcome] = {
    "OUT_OF_MEMORY": "out of memory",
    "TIMEOUT": "out of time",
    "DEADLINE": "out of time",
    "CANCELLED": "cancelled",
    "PREEMPTED": "cancelled",
    "NODE_FAIL": "machine lost",
    "BOOT_FAIL": "machine lost",
}
