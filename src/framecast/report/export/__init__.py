"""What was scored, for other programs: a table, TensorBoard, Weights & Biases, a paper in LaTeX.

Everything is written after the run, from finished cells alone: no job of a study knows of it, and nothing asks a
network.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from framecast.errors import UserError
from framecast.report.export import latex, scores_table, tensorboard, wandb_offline
from framecast.report.export.cells import chosen
from framecast.report.write import PARTIAL

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

#: format → what is written by default, in reports/partial, and what writes it
WRITERS: "dict[str, tuple[str, Callable[[Grid, Sequence[Cell], Path], None]]]" = {
    "csv": ("all_scores.csv", scores_table.write),
    "tensorboard": ("tensorboard", tensorboard.write),
    "wandb-offline": ("wandb-offline", wandb_offline.write),
    "latex": ("numbers.tex", latex.write),
}


def export(grid: "Grid", kind: str, path: Path | None = None, runs: Sequence[str] = ()) -> Path:
    """Write every scored cell, or those that are named, in the order of the grid, and say where.

    Raises UserError, before anything is written, for a format that there is not, for a cell that the grid has not or
    that is not scored, when no cell is scored, for a file that is not the one its manifest vouches for, when a package
    that the format needs is not installed, and for an output that this verb did not write.
    """
    if kind not in WRITERS:
        raise UserError(f"export: found {kind!r}; allowed: {', '.join(WRITERS)}")
    name, write = WRITERS[kind]
    place = path or PARTIAL / name
    write(grid, chosen(grid, runs), place)
    return place
