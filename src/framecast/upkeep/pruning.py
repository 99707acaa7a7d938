"""Remove artefacts that params.yaml no longer asks for, so that a removed cell leaves nothing behind.

Nothing is lost by it: a file is deleted only when DVC's cache holds its content, and is otherwise moved to
``data/attic``. A folder whose cell is being trained is left alone.
"""

import hashlib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from framecast.cluster import lease
from framecast.errors import UserError
from framecast.study.grid import CHECKPOINTS, PROCESSED, RUNS, SCORES
from framecast.upkeep.dvc_config import cache_folder

if TYPE_CHECKING:
    from framecast.study.grid import Grid

AFFECTS_NUMBERS = False
ATTIC = Path("data/attic")


def prune(grid: "Grid", phase: str) -> None:
    """Prune ``data``, ``train`` or ``evaluate``: every keyed folder that is not in the grid."""
    phases = {
        "data": (PROCESSED, {grid.data_folder(name) for name in grid.datasets}),
        "train": (RUNS, {grid.run_folder(cell) for cell in grid.cells} | set(map(grid.probe_folder, grid.probes))),
        "evaluate": (SCORES, {grid.score_folder(cell) for cell in grid.scored}),
    }
    if phase not in phases:
        raise UserError(f"prune: found {phase!r}; allowed: {', '.join(phases)}")
    (root, wanted), cache = phases[phase], cache_folder()
    for folder in sorted({path.parent for path in root.rglob("*") if path.is_file() and path.parent != root}):
        if folder not in wanted and not _being_trained(folder):
            _remove(folder, cache)
    _drop_empty(root)
    if phase == "train":
        _retire_checkpoints({grid.checkpoint_folder(cell) for cell in grid.cells})


def _retire_checkpoints(wanted: set[Path]) -> None:
    """Move the checkpoints of cells that are no longer wanted, and that nobody is training, to the attic."""
    for folder in sorted({path.parent for path in CHECKPOINTS.rglob("step-*")} - wanted):
        if not _being_trained(folder):
            _to_attic(folder)
    _drop_empty(CHECKPOINTS)


def _being_trained(folder: Path) -> bool:
    """Whether somebody holds the lease of this keyed folder."""
    return lease.holder(CHECKPOINTS.joinpath(*folder.parts[2:])) is not None


def _remove(folder: Path, cache: Path) -> None:
    files = [path for path in folder.iterdir() if path.is_file()]
    if all(_cached(path, cache) for path in files):
        shutil.rmtree(folder)
        return
    kept = _to_attic(folder)
    print(f"framecast: {folder} is no longer in params.yaml and not in DVC's cache; moved to {kept}", file=sys.stderr)


def _to_attic(folder: Path) -> Path:
    kept = ATTIC / folder.relative_to("data")
    kept.parent.mkdir(parents=True, exist_ok=True)
    if kept.exists():
        shutil.rmtree(kept)
    shutil.move(folder, kept)  # the two may be on different disks
    return kept


def _cached(path: Path, cache: Path) -> bool:
    """Whether DVC's cache holds this file's content."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return (cache / "files" / "md5" / digest[:2] / digest[2:]).exists()


def _drop_empty(root: Path) -> None:
    for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
