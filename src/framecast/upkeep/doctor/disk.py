"""The disk: room, folders that can be written by whoever must, links, and locks."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from framecast.artifacts.locks import STALE_SECONDS, keeps_locks
from framecast.study.grid import CHECKPOINTS
from framecast.upkeep.doctor.findings import Line
from framecast.upkeep.doctor.surroundings import Surroundings
from framecast.upkeep.dvc_config import FOLDER, read
from framecast.upkeep.links import wrong_links

AFFECTS_NUMBERS = False
FREE_GB = 5
WRITTEN = ("data", "logs", "reports")


def disk(_: Surroundings) -> Iterator[Line]:
    """Whether there is room."""
    free = shutil.disk_usage(".").free / 1e9
    if free < FREE_GB:
        yield Line("warning", "disk", f"{free:.1f} GB free here", f"make room: a study may need {FREE_GB} GB or more")
    else:
        yield Line("ok", "disk", f"{free:.0f} GB free here, {FREE_GB} GB wanted")


def links(_: Surroundings) -> Iterator[Line]:
    """Whether what DVC records lies below a link."""
    for folder, cure in wrong_links():
        found = f"found a link to {folder.readlink()}, below which DVC records nothing"
        yield Line("problem", f"{folder}/", found, cure)


def sharing(_: Surroundings) -> Iterator[Line]:
    """Whether what this user makes in a group's folder can be gone on with by the others."""
    mode, mask = Path().stat().st_mode, os.umask(0)
    os.umask(mask)
    if mode & stat.S_ISGID and mode & stat.S_IWGRP and mask & stat.S_IWGRP:
        found = f"this folder is a group's, which umask {mask:03o} keeps from writing what you make"
        yield Line("warning", "sharing", found, "set `umask 002`, in your shell's start file")


def locks(_: Surroundings) -> Iterator[Line]:
    """What keeps two processes from writing the same: the kernel's locks, or files that announce who writes."""
    places = {path.stat().st_dev: path for path in (CHECKPOINTS, Path()) if path.is_dir()}
    for place in places.values():
        with suppress(OSError), TemporaryFile(dir=place) as file:  # a folder that cannot be written is told elsewhere
            if keeps_locks(file.fileno()):
                yield Line("ok", "locks", f"{place.resolve()}: the kernel's")
                continue
            told = f"{place.resolve()}: its file system has none; trainings announce themselves in files instead"
            yield Line(
                "ok", "locks", f"{told}, and one killed on another node is waited for {STALE_SECONDS // 60} minutes"
            )
            if place == Path() and FOLDER.is_dir() and not _dvc_needs_none():
                cure = "`dvc config --local core.hardlink_lock true`"
                yield Line("problem", "locks", "DVC wants the kernel's and finds none here", cure)


def _dvc_needs_none() -> bool:
    return str(read().get("core", {}).get("hardlink_lock", "")).lower() == "true"


def permissions(_: Surroundings) -> Iterator[Line]:
    """Whether the folders that are written can be."""
    for name in WRITTEN:
        nearest = next(path for path in (Path(name), Path()) if path.exists())
        if not nearest.is_dir():
            yield Line("problem", f"{name}/", "found a file", "move it away: a folder of this name is needed")
        elif not os.access(nearest, os.W_OK | os.X_OK):
            yield Line("problem", f"{name}/", f"{nearest.resolve()} cannot be written", f"chmod -R u+w {name}, or move")
        else:
            yield Line("ok", f"{name}/", "can be written")
