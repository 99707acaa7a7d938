"""One writer per cell.

On one machine a lock decides (``artifacts.locks``), which dies with its holder, so a killed run never blocks the next.
Between machines, where the kernel's locks may not reach, a heartbeat in ``lease.json`` decides: fresh means alive. Only
where Slurm says that the job of a fresh heartbeat is over, or where it is the job's own earlier life, is the heartbeat
watched instead: when it stays silent its writer is dead, and nobody has to wait until it is stale.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from framecast.artifacts import read_json, write_json
from framecast.artifacts.locks import HEARTBEAT_SECONDS, STALE_SECONDS, Lock, is_held
from framecast.cluster import slurm
from framecast.errors import UserError

AFFECTS_NUMBERS = False
LOOK_SECONDS = 5  #: between two looks at somebody else's lease
SILENT_SECONDS = 70  #: three heartbeats and some; who writes none for so long while watched is dead
WORKING = {"", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"}  #: "": unknown


@dataclass(frozen=True)
class Holder:
    """Who trains a cell; the process is 0 where that is not known."""

    host: str
    pid: int
    job: str | None
    heartbeat: float

    def __str__(self) -> str:
        if not self.pid:
            return "another process"
        return f"{f'job {self.job}, ' if self.job else ''}process {self.pid} on {self.host}"

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is on another machine, and has been heard of lately."""
        return self.host not in ("", socket.gethostname()) and abs(time.time() - self.heartbeat) < STALE_SECONDS


@contextmanager
def lease(folder: Path, cell: str, patience: float | int = 0) -> Iterator[None]:
    """Hold the right to train a cell, or raise UserError naming the job, host and process that hold it.

    ``patience`` is how many seconds to wait for that one to end: what it leaves need not be done again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    with Lock(folder / "lease.lock") as lock:
        told = ""
        while (busy := _busy(folder, lock)) is not None:
            if time.monotonic() >= deadline:
                raise UserError(f"cell {cell}: {busy}; wait for that one or stop it")
            if busy != told:
                print(f"framecast: cell {cell}: {busy}; waiting for that one", file=sys.stderr, flush=True)
                told = busy
            time.sleep(min(LOOK_SECONDS, max(0.0, deadline - time.monotonic())))
        with _heartbeat(folder):
            yield


def _busy(folder: Path, lock: Lock) -> str | None:
    """Who trains the cell instead of us, in words; None once the lock is ours."""
    if not lock.take():
        return f"{_written(folder)} is training it"
    if (who := _written(folder)).is_elsewhere and not _has_gone(folder, who):
        return f"{who} is training it (heartbeat under {STALE_SECONDS} s old)"
    return None


def holder(folder: Path) -> Holder | None:
    """Who trains the cell of this checkpoint folder now; None when nobody does."""
    who = _written(folder)
    return who if who.is_elsewhere or is_held(folder / "lease.lock") else None


def _has_gone(folder: Path, who: Holder) -> bool:
    """Whether the writer of a fresh heartbeat is dead: Slurm must say so of its job, and the heartbeat stay silent."""
    if who.job is None or (who.job != os.environ.get("SLURM_JOB_ID") and slurm.state_of(who.job) in WORKING):
        return False
    end = time.monotonic() + SILENT_SECONDS
    while (now := _written(folder)) == who:
        if time.monotonic() > end:
            return True
        time.sleep(1)
    return not now.is_elsewhere


@contextmanager
def _heartbeat(folder: Path) -> Iterator[None]:
    path, done = folder / "lease.json", threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_SECONDS):
            try:
                _write(path)
            except OSError:  # a full disk must not end a run that can still compute; the next beat tries again
                continue

    _write(path)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        path.unlink(missing_ok=True)


def _write(path: Path) -> None:
    job = os.environ.get("SLURM_JOB_ID")
    write_json(path, {"host": socket.gethostname(), "pid": os.getpid(), "job": job, "heartbeat": time.time()})


def _written(folder: Path) -> Holder:
    """Whoever wrote the lease last; nobody in particular where it cannot be read."""
    try:
        found = read_json(folder / "lease.json")
        return Holder(str(found["host"]), int(found["pid"]), found.get("job"), float(found["heartbeat"]))
    except (OSError, UserError, KeyError, TypeError, ValueError, AttributeError):
        return Holder("", 0, None, 0.0)
