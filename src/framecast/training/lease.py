"""One writer per cell.

On one machine the kernel's file lock decides: it dies with its holder, so a killed run never blocks the next. Between
machines, where such locks may not reach, a heartbeat in ``lease.json`` decides: fresh means alive.
"""

import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from framecast.artifacts import read_json, write_json
from framecast.errors import UserError

AFFECTS_NUMBERS = False
HEARTBEAT_SECONDS = 20
STALE_SECONDS = 300


@contextmanager
def lease(folder: Path, cell: str) -> Iterator[None]:
    """Hold the right to train a cell, or raise UserError naming the job, host and process that hold it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lease.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"cell {cell}: {_holder(folder)} is training it; wait for that one or stop it") from None
        if _alive_elsewhere(folder):
            raise UserError(f"cell {cell}: {_holder(folder)} is training it (heartbeat under {STALE_SECONDS} s old)")
        with _heartbeat(folder):
            yield


def holder(folder: Path) -> str | None:
    """Who trains the cell of this checkpoint folder now, in words; None when nobody does."""
    lock = folder / "lease.lock"
    if not lock.exists():
        return None
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(folder)
    return _holder(folder) if _alive_elsewhere(folder) else None


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


def _alive_elsewhere(folder: Path) -> bool:
    try:
        found = read_json(folder / "lease.json")
        return found["host"] != socket.gethostname() and abs(time.time() - found["heartbeat"]) < STALE_SECONDS
    except (OSError, UserError, KeyError):
        return False


def _holder(folder: Path) -> str:
    try:
        found = read_json(folder / "lease.json")
    except (OSError, UserError, KeyError):
        return "another process"
    job = f"job {found['job']}, " if found.get("job") else ""
    return f"{job}process {found['pid']} on {found['host']}"
