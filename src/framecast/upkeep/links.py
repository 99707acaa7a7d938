"""Artefacts on another disk: what may be a link, and what may not."""

from collections.abc import Iterator
from pathlib import Path

from framecast.errors import UserError
from framecast.study.grid import CHECKPOINTS, FIGURES, PROCESSED, RAW, RUNS, SCORES
from framecast.upkeep.dvc_config import FOLDER

AFFECTS_NUMBERS = False


def wrong_links() -> Iterator[tuple[Path, str]]:
    """(folder, what to do) for every link above what DVC records: it follows one in its place, and none above it."""
    inside = [RAW, PROCESSED, RUNS, SCORES, CHECKPOINTS, FIGURES]
    for folder in sorted({path.parent for path in inside}):
        if folder.is_symlink() and FOLDER.is_dir():
            target = folder.readlink()
            names = " ".join(path.name for path in inside if path.parent == folder)
            yield (
                folder,
                f"make it a folder and link what lies in it: rm {folder} && mkdir {folder} && for name in {names}; do "
                f"mkdir -p {target}/$name && ln -s {target}/$name {folder}/; done",
            )


def refuse_wrong_links() -> None:
    """UserError, before anything runs, for a link that ``dvc repro`` would stumble over when all is done."""
    for folder, cure in wrong_links():
        raise UserError(f"{folder}: found a link to {folder.readlink()}, below which DVC records nothing; {cure}")
