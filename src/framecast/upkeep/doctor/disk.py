"""The disk: room, and folders that can be written."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from framecast.upkeep.doctor.findings import Line
from framecast.upkeep.doctor.surroundings import Surroundings

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
