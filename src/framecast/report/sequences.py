"""Test sequences sorted by error: which one a dataset's systems forecast worst, in the median, and best.

The error of every test sequence is stored at every step; forecasts are stored of the first few sequences alone. So the
worst, the median and the best of all can be named, and each stored forecast says where it stands among all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from framecast.report import numbers
from framecast.results import CellFiles, Results, System, goodness, label

PLACES = ("worst", "median", "best")


@dataclass(frozen=True)
class Standing:
    """A stored test sequence and its place among all by the mean error of the systems shown; 1 is the worst.

    ``place`` is 0 where no error by sequence is stored.
    """

    sequence: int  #: counted from 1
    place: int
    count: int

    @property
    def words(self) -> str:
        """Its place as it is told."""
        if not self.place:
            return ""
        ends = {1: "the worst", self.count: "the best"}
        return f"{ends.get(self.place, f'place {self.place}')} of {self.count}"


@dataclass(frozen=True)
class Pick:
    """A test sequence by number and its error; ``is_stored`` where its forecast can be looked at."""

    sequence: int
    error: numbers.Number
    is_stored: bool


@dataclass(frozen=True)
class Row:
    """A system with its worst, median and best forecast sequence."""

    system: str
    label: str
    picks: tuple[Pick, ...]


@dataclass(frozen=True)
class Part:
    """The table of a dataset: systems down; worst, median and best across."""

    metric: str
    count: int
    stored: int
    rows: tuple[Row, ...]


def errors(cell: CellFiles) -> np.ndarray | None:
    """The leading metric of each test sequence at each step of the leading mode, (N, K), where it is stored."""
    return cell.sequences.get(f"{cell.score['mode']}/{cell.score['primary_metric']}")


def standings(results: Results, dataset: str, systems: Sequence[System], stored: int) -> list[Standing]:
    """The first ``stored`` test sequences, the worst forecast one first."""
    found = [errors(results.scored(dataset, system)[0]) for system in systems]
    whole = [error.mean(axis=1) for error in found if error is not None]
    if not whole:
        return [Standing(index + 1, 0, 0) for index in range(stored)]
    order = _worst_first(np.mean(whole, axis=0), results.primary_metric(dataset))
    place = {sequence: at + 1 for at, sequence in enumerate(order)}
    told = [Standing(index + 1, place[index], len(order)) for index in range(stored)]
    return sorted(told, key=lambda standing: standing.place)


def part(results: Results, dataset: str, systems: Sequence[System], stored: int) -> Part | None:
    """The table of these systems, each by its first seed; None where no error by sequence is stored."""
    metric = results.primary_metric(dataset)
    cells = [results.scored(dataset, system)[0] for system in systems]
    known = [(cell, error) for cell in cells if (error := errors(cell)) is not None]
    if not known:
        return None
    rows = tuple(_row(results, systems, cell, error.mean(axis=1), metric, stored) for cell, error in known)
    return Part(metric, len(known[0][1]), stored, rows)


def _row(
    results: Results, systems: Sequence[System], cell: CellFiles, error: np.ndarray, metric: str, stored: int
) -> Row:
    order = _worst_first(error, metric)
    chosen = [order[0], order[len(order) // 2], order[-1]]
    about = {
        **numbers.data_of(cell.dataset, cell.system, metric, cell.score["mode"]),
        "seed": str(cell.seed),
    }
    picks = tuple(
        Pick(
            at + 1,
            numbers.Number(
                numbers.scientific(float(error[at])),
                {**about, "sequence": str(at + 1), "statistic": place, "value": repr(float(error[at]))},
            ),
            at < stored,
        )
        for place, at in zip(PLACES, chosen, strict=True)
    )
    return Row(str(cell.system), label(results, cell.dataset, systems, cell.system), picks)


def _worst_first(errors: np.ndarray, metric: str) -> list[int]:
    """Sequences in order of their error; equal ones by number, and what is not a number is the worst."""
    values = [goodness(metric, value) for value in errors.tolist()]
    return sorted(range(len(values)), key=lambda at: (values[at] == values[at], values[at], at))
