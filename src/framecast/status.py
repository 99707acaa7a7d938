"""What state each cell of the grid is in, as far as the files tell."""

import json
from typing import TYPE_CHECKING

from framecast.grid import Cell, Grid

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

AFFECTS_NUMBERS = False


def state(grid: Grid, cell: Cell) -> str:
    """done · trained (not scored) · unfinished (a checkpoint waits) · stale (made with another key) · never run."""
    if (grid.score_folder(cell) / "score.json").exists():
        return "done"
    if not cell.is_baseline and (grid.run_folder(cell) / "run.json").exists():
        return "trained"
    if not cell.is_baseline and any(grid.checkpoint_folder(cell).glob("step-*")):
        return "unfinished"
    if any(_others(grid.score_folder(cell))) or (not cell.is_baseline and any(_others(grid.run_folder(cell)))):
        return "stale"
    return "never run"


def _others(folder: "Path") -> "Iterable[Path]":
    """Folders of the same cell under another key."""
    return (path for path in folder.parent.glob("*") if path != folder and any(path.glob("*.json")))


def table(grid: Grid) -> None:
    """Print cells, keys and states, one line each, and a count of the states."""
    from rich.console import Console
    from rich.table import Table

    lines = Table("cell", "key", "state", box=None, header_style="bold")
    counts: dict[str, int] = {}
    for cell in grid.scored:
        found = state(grid, cell)
        counts[found] = counts.get(found, 0) + 1
        lines.add_row(cell.name, grid.score_key(cell) if cell.is_baseline else grid.run_key(cell), found)
    console = Console(width=None if Console().is_terminal else 120)
    console.print(lines)
    console.print(f"{grid.count} cells at scale {grid.params.scale}: {json.dumps(counts)[1:-1].replace(chr(34), '')}")
