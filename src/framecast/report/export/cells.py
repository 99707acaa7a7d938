"""Which cells are exported, and their scores, as their manifests vouch for them."""

import csv
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from framecast import artifacts
from framecast.errors import UserError

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

ALL = "all"  #: what stands for a step in the mean over all of them


class Score(NamedTuple):
    """One number: ``step`` is a forecast step from 1, or ``all`` for the mean over them."""

    mode: str
    metric: str
    step: str
    value: float

    @property
    def is_overall(self) -> bool:
        """Whether it is the mean over the steps."""
        return self.step == ALL


def chosen(grid: "Grid", names: Sequence[str]) -> "list[Cell]":
    """The cells of these names, or every scored one, in the order of the grid.

    Raises UserError for a name that the grid has not, for a cell without a score, and when there is none at all.
    """
    wanted = {grid.find(name) for name in names}
    for cell in wanted:
        if not _is_scored(grid, cell):
            raise UserError(f"cell {cell.name}: not scored yet; `framecast status` says why, `framecast grid` what is")
    found = [cell for cell in grid.scored if (cell in wanted if names else _is_scored(grid, cell))]
    if not found:
        raise UserError("export: no cell is scored yet, so there is nothing to write; `framecast status` says why")
    return found


def scores(grid: "Grid", cell: "Cell") -> tuple[dict[str, Any], list[Score]]:
    """The manifest of a cell's evaluation, and every number of it in the order of its file."""
    folder = grid.score_folder(cell)
    facts = artifacts.verify(folder / "score.json", "scores.csv")
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = [Score(row["mode"], row["metric"], row["step"], float(row["value"])) for row in csv.DictReader(file)]
    return facts, rows


def _is_scored(grid: "Grid", cell: "Cell") -> bool:
    return (grid.score_folder(cell) / "score.json").exists()
