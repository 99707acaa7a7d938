"""All scores in one tidy table, for whoever analyses them with tools of their own: one number a row, nothing folded."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecast import artifacts
from framecast.errors import UserError
from framecast.study import catalogue

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

FORMATS = ("csv",)
COLUMNS = (
    *("dataset", "model", "depth", "loss", "seed", "mode", "metric", "unit", "better", "step", "value"),
    *("split", "sequences", "causal", "source", "scale", "run_key", "key"),
)


def export(grid: "Grid", kind: str, path: Path) -> Path:
    """Write the scores of every cell that has some, in the order of the grid, and say where.

    ``step`` is a forecast step from 1, or ``all`` for the mean over them; ``better`` is lower, higher, or one for
    nearer to 1; what a baseline has not is empty. Raises UserError for another format than csv, when no cell is
    scored, and for a score that is not the one its manifest vouches for.
    """
    if kind not in FORMATS:
        raise UserError(f"export: found {kind!r}; allowed: {', '.join(FORMATS)}")
    cells = [cell for cell in grid.scored if (grid.score_folder(cell) / "score.json").exists()]
    if not cells:
        raise UserError("export: no cell is scored yet, so there is nothing to write; `framecast status` says why")
    with artifacts.replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for cell in cells:
            writer.writerows(_rows(grid, cell))
    return path


def _rows(grid: "Grid", cell: "Cell") -> Iterator[dict[str, Any]]:
    folder = grid.score_folder(cell)
    facts = artifacts.verify(folder / "score.json", "scores.csv")
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            told = {fact: catalogue.metric_fact(row["metric"], fact) for fact in ("unit", "better")}
            yield {**facts, **told, **row}
