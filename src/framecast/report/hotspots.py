"""Do the hot spots of the activation maps lie on the digits? The claim that such pictures make, as numbers.

For every system that shows what its layers hold: the preference of each layer's activation for the places of the
digits (``evaluation.inside``: share of its energy there / share of the area; 1 is none), after and before training.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from framecast.report import numbers, tables
from framecast.results import CellFiles, Results, System, short


@dataclass(frozen=True)
class Preference:
    """A layer: means over seeds, and what training did to it in each of them."""

    trained: numbers.Number
    untrained: numbers.Number
    verdict: str


@dataclass(frozen=True)
class Row:
    """A system; ``marks`` are its badges."""

    label: str
    marks: tuple[str, ...]
    layers: tuple[Preference, ...]
    system: str = ""  #: the whole name


@dataclass(frozen=True)
class Part:
    """The table of a dataset: systems down, layers across; ``area`` is the share of places that are digits."""

    area: numbers.Number
    layers: int
    rows: tuple[Row, ...]


def part(results: Results, dataset: str) -> Part | None:
    """The table, or None where no system shows anything."""
    systems = results.systems(dataset)
    looked = {system: [cell for cell in results.scored(dataset, system) if _inside(cell)] for system in systems}
    rows = tuple(_row(results, dataset, system, cells) for system, cells in looked.items() if cells)
    if not rows:
        return None
    area = float(np.mean([_inside(cell)["area"] for cells in looked.values() for cell in cells]))
    return Part(_number(dataset, "area", area), max(len(row.layers) for row in rows), rows)


def _inside(cell: CellFiles) -> dict[str, Any]:
    return cell.score.get("inside") or {}


def _row(results: Results, dataset: str, system: System, cells: list[CellFiles]) -> Row:
    by_layer = zip(*(_inside(cell)["layers"] for cell in cells), strict=True)
    return Row(
        short(results.systems(dataset), system),
        tables.marks(results, dataset, system),
        tuple(_preference(dataset, seeds) for seeds in by_layer),
        str(system),
    )


def _preference(dataset: str, seeds: tuple[dict[str, Any], ...]) -> Preference:
    trained, untrained = (
        _number(dataset, f"preference {which}", float(np.mean([seed[which]["preference"] for seed in seeds])))
        for which in ("trained", "untrained")
    )
    return Preference(trained, untrained, _verdict([(seed["low"], seed["high"]) for seed in seeds]))


def _verdict(intervals: list[tuple[float, float]]) -> str:
    """What training did, where the 95 % intervals of all seeds say the same; else that they do not."""
    if all(low > 0 for low, _ in intervals):
        return "more"
    if all(high < 0 for _, high in intervals):
        return "less"
    return "no difference" if all(low <= 0 <= high for low, high in intervals) else "seeds differ"


def _number(dataset: str, statistic: str, value: float) -> numbers.Number:
    data = {"dataset": dataset, "metric": "preference", "statistic": statistic, "value": repr(value)}
    return numbers.Number(numbers.significant(value, digits=3), data)
