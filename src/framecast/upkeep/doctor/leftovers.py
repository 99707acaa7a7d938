"""What dead processes left, and what holds the engines' locks."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from framecast.upkeep.doctor.findings import Line
from framecast.upkeep.doctor.surroundings import Surroundings

AFFECTS_NUMBERS = False


def leftovers(_: Surroundings) -> Iterator[Line]:
    """Whether the engines' locks are held by the living."""
    drivers = [pid for pid, command in _processes_here() if "snakemake" in command]
    locks = sorted(Path(".snakemake", "locks").glob("*.lock"))
    if locks and not drivers:
        found = f"a lock in {locks[0].parent}, and no Snakemake runs in this folder on this machine"
        yield Line("problem", "Snakemake", found, "run `framecast resume`, unless one runs on another machine")
    elif locks:
        yield Line("ok", "Snakemake", f"process {drivers[0]} runs here and holds the lock")
    yield from _dvc_lock()


def _dvc_lock() -> Iterator[Line]:
    path = Path(".dvc", "tmp", "rwlock")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        pids = {int(holder["pid"]) for holder in _holders(held)}
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield Line("problem", "DVC", f"{path} cannot be read", "run `framecast resume`")
        return
    alive = sorted(pid for pid in pids if _is_alive(pid))
    if alive:
        yield Line("ok", "DVC", f"process {alive[0]} runs here and holds {path}")
    elif pids:
        found = f"{path} is held by process {min(pids)}, which is dead on this machine"
        yield Line("warning", "DVC", found, "run `framecast resume`, unless one runs on another machine")


def _holders(held: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Who reads and writes: DVC keeps one holder or a list of them per path."""
    for places in held.values():
        for holders in places.values():
            yield from holders if isinstance(holders, list) else [holders]


def _processes_here() -> Iterator[tuple[int, str]]:
    """(pid, command) of every process of ours whose working folder is this one, as far as /proc tells."""
    here = Path.cwd()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cwd").readlink() == here and int(folder.name) != os.getpid():
                command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(folder.name), " ".join(Path(word).name for word in command[:4])
        except OSError:
            continue


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
