"""The program that drives a grid: what it was started with, and how to go on where it died.

While Snakemake runs, ``.snakemake/framecast-driver.json`` says on which host, as which process and with which command;
it is gone when Snakemake ends by itself. What is still there with nobody alive was left by a driver that was killed.
"""

import json
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from framecast.artifacts import read_json, write_json
from framecast.cluster import slurm
from framecast.errors import UserError
from framecast.grid import CHECKPOINTS
from framecast.training import lease

AFFECTS_NUMBERS = False
RECORD = Path(".snakemake/framecast-driver.json")
WRITING = {"fetch", "prepare", "train", "evaluate", "tables", "report", "prune"}
POLL_SECONDS = 10


def started(command: Sequence[str]) -> None:
    """Called by Snakemake when it begins to run jobs; inside a DVC stage the command to go on with is DVC's."""
    told = ["dvc", "repro"] if "DVC_STAGE" in os.environ else ["snakemake", *command[1:]]
    write_json(RECORD, {"host": socket.gethostname(), "pid": os.getpid(), "command": told})


def ended() -> None:
    """Called by Snakemake when it ends by itself, well or not."""
    RECORD.unlink(missing_ok=True)


def resume(command: Sequence[str] = (), *, wait: bool = False) -> None:
    """Clear what a killed driver left, then become the command that goes on: the interrupted one, or ``command``.

    Raises UserError, and changes nothing, while anything of this folder is alive: jobs, drivers, training processes.
    With ``wait`` it waits for them instead. Nothing that is finished is deleted, and what was not finished goes on
    from its checkpoint.
    """
    record = _record()
    goes_on = list(command) or (record["command"] if record else [])
    if not goes_on:
        raise UserError(
            "resume: no interrupted run is recorded here; say which command goes on: "
            "`framecast resume snakemake --profile slurm`"
        )
    if (program := shutil.which(goes_on[0])) is None:
        raise UserError(f"resume: found no program {goes_on[0]!r}; allowed: snakemake … or dvc repro")
    while alive := list(living(record)):
        if not wait:
            raise UserError(
                f"resume: still alive: {'; '.join(alive)}; wait with `framecast resume --wait`, or end them first"
            )
        print(f"framecast: waiting for {'; '.join(alive)}", file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)
    for line in clear():
        print(f"framecast: {line}", file=sys.stderr)
    print(f"framecast: going on with {shlex.join(goes_on)}", file=sys.stderr, flush=True)
    os.execv(program, goes_on)


def living(record: dict[str, Any] | None) -> Iterator[str]:
    """Everything of this folder that is alive, in words; asked of Slurm, of this machine and of the leases."""
    if (found := slurm.jobs()) is not None:
        if found:
            ids = " ".join(job.id for job in found)
            yield f"{len(found)} Slurm jobs (scancel {ids})"
    elif shutil.which("squeue") and record and "slurm" in " ".join(record["command"]):
        raise UserError(
            "resume: the Slurm controller does not answer, so its jobs may be alive; try again when it does"
        )
    if record and record["host"] != socket.gethostname():
        raise UserError(
            f"resume: the driver was started on {record['host']} (process {record['pid']}), which cannot be seen from "
            f"here; run `framecast resume` there, or delete {RECORD} if that machine is gone"
        )
    for pid, told in _processes():
        yield f"process {pid} ({told})"
    for folder in sorted(path.parent for path in CHECKPOINTS.rglob("lease.lock")):
        if (who := lease.holder(folder)) is not None:
            yield f"{folder.relative_to(CHECKPOINTS).parent}: {who}"


def clear() -> Iterator[str]:
    """Remove what dead processes left: locks, marks, stale leases, half-written files. Says what was removed."""
    for what, paths in (
        ("Snakemake's lock", Path(".snakemake/locks").glob("*")),
        ("marks of interrupted jobs", Path(".snakemake/incomplete").rglob("*")),
        ("stale leases", CHECKPOINTS.rglob("lease.json")),
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


def _partials() -> Iterator[Path]:
    """Temporary files of ``artifacts.replacing``, whose writer is dead."""
    for root in (Path("data"), Path("reports")):
        yield from root.rglob(".*.partial")


def _clear_rwlock() -> bool:
    """Drop the readers and writers of DVC's lock that no longer live."""
    path = Path(".dvc/tmp/rwlock")
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    read = {key: [one for one in holders if _exists(one["pid"])] for key, holders in lock.get("read", {}).items()}
    write = {key: one for key, one in lock.get("write", {}).items() if _exists(one["pid"])}
    kept = {"read": {key: holders for key, holders in read.items() if holders}, "write": write}
    if kept == {"read": lock.get("read", {}), "write": lock.get("write", {})}:
        return False
    path.write_text(json.dumps(kept), encoding="utf-8")
    return True


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _processes() -> Iterator[tuple[int, str]]:
    """Drivers and verbs that run in this folder, without ourselves and those that started us."""
    import psutil

    here, ours = Path.cwd().resolve(), {os.getpid()}
    ours |= {parent.pid for parent in psutil.Process().parents()}
    for process in psutil.process_iter():
        try:
            if process.pid in ours or process.status() == psutil.STATUS_ZOMBIE or Path(process.cwd()) != here:
                continue
            words = [Path(word).name for word in process.cmdline()[:4]]
        except (psutil.Error, OSError):
            continue
        if _works(words):
            yield process.pid, " ".join(words)[:80]


def _works(words: list[str]) -> bool:
    """Whether a command line is that of something that writes; looking on (status, logs) harms nobody."""
    named = {Path(word).stem for word in words}
    return bool(named & {"snakemake", "dvc"}) or ("framecast" in named and bool(named & WRITING))


def _record() -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = read_json(RECORD)
        return found if {"host", "pid", "command"} <= found.keys() else None
    except (OSError, UserError, AttributeError):
        return None
