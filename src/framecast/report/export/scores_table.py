"""All scores in one tidy table, for whoever analyses them with tools of their own: one number a row, nothing folded."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecast import artifacts
from framecast.report.export.cells import scores
from framecast.report.export.outputs import expect_own_file
from framecast.study import catalogue

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

COLUMNS = (
    *("dataset", "model", "depth", "loss", "seed", "mode", "metric", "unit", "better", "step", "value"),
    *("split", "sequences", "causal", "source", "scale", "run_key", "key"),
)


def write(grid: "Grid", cells: "Sequence[Cell]", path: Path) -> None:
    """One row for each number of these cells.

    ``step`` is a forecast step from 1, or ``all`` for the mean over them; ``better`` is lower, higher, or one for
    nearer to 1; what a baseline has not is empty.
    """
    expect_own_file(path, ",".join(COLUMNS))
    with artifacts.replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for cell in cells:
            writer.writerows(_rows(grid, cell))


def _rows(grid: "Grid", cell: "Cell") -> Iterator[dict[str, Any]]:
    facts, numbers = scores(grid, cell)
    for number in numbers:
        told = {fact: catalogue.metric_fact(number.metric, fact) for fact in ("unit", "better")}
        yield {**facts, **told, **number._asdict()}
