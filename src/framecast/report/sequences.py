"""Test sequences sorted by error: which one each system forecasts worst, in the median, and best.

The error of every test sequence is stored for every system, so its place among all is known; forecasts are stored of a
few, which ``evaluation.kept`` chooses for each cell. So each system's own worst, median and best can be looked at, and
beside them whatever other system happens to have stored the same sequence.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from framecast.evaluation.kept import COPIED, FIRST, PLACES, extremes, worst_first
from framecast.report import numbers
from framecast.results import CellFiles, Results, System, goodness, label
from framecast.study import catalogue

FURTHEST = 3  #: sequences of the whole split that are named for how far their systems are apart


@dataclass(frozen=True)
class Standing:
    """A stored test sequence and its place among all by the mean error of the systems shown; 1 is the worst.

    ``apart`` is its place by how far the errors of these systems are apart, 1 being the furthest. Both are 0 where no
    error by sequence is stored, and the second one where there are no two systems.
    """

    sequence: int  #: counted from 1
    place: int
    count: int
    apart: int
    why: tuple[str, ...]  #: for which it is stored

    @property
    def words(self) -> str:
        """Its place by error as it is told."""
        if not self.place:
            return ""
        ends = {1: "the worst", self.count: "the best"}
        return f"{ends.get(self.place, f'place {self.place}')} of {self.count}"

    @property
    def short(self) -> str:
        """Why it is stored, by what is worth most of it."""
        return self.why[0] + " …" * (len(self.why) > 1)


@dataclass(frozen=True)
class Pick:
    """A test sequence by number and its error; ``is_shown`` where its forecast can be looked at."""

    sequence: int
    error: numbers.Number
    is_shown: bool


@dataclass(frozen=True)
class Row:
    """A system with its worst, median and best forecast sequence."""

    system: str
    label: str
    picks: tuple[Pick, ...]


@dataclass(frozen=True)
class Apart:
    """A test sequence on which systems are far apart: the one that forecasts it best, and the one that does worst."""

    place: int  #: among all, 1 being the furthest
    best: str
    worst: str
    systems: tuple[str, str]  #: the whole names of both
    low: Pick
    high: Pick

    @property
    def shows(self) -> str:
        """Whose forecast can be looked at, the worst one rather; empty where neither can."""
        found = [name for name, pick in zip(self.systems, (self.low, self.high), strict=True) if pick.is_shown]
        return found[-1] if found else ""


@dataclass(frozen=True)
class Part:
    """The tables of a dataset: systems down, worst, median and best across; and where systems are furthest apart."""

    metric: str
    count: int
    rows: tuple[Row, ...]
    apart: tuple[Apart, ...]


def errors(cell: CellFiles) -> np.ndarray | None:
    """The leading metric of each test sequence at each step of the leading mode, (N, K), where it is stored."""
    return cell.sequences.get(f"{cell.score['mode']}/{cell.score['primary_metric']}")


def stored(cells: Sequence[CellFiles], names: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """The sequences that some of these cells have kept, counted from 1, and why: what is worth most of a page first.

    First those that all have because copying finds them hard, middling or easy, and the first one of all; then what
    each system does worst, best and in the middle; then the others that nobody chose.
    """
    found: dict[int, list[tuple[int, str, str]]] = {}
    for cell, name in zip(cells, names, strict=True):
        for at, (sequence, reasons) in enumerate(cell.kept.items()):
            found.setdefault(sequence, []).extend(_worth(reason, at, name) for reason in reasons)
    order = sorted(found, key=lambda sequence: (min(found[sequence])[0], sequence))
    return {sequence: tuple(_in_words(found[sequence])) for sequence in order}


def _worth(reason: str, at: int, name: str) -> tuple[int, str, str]:
    """How late a sequence is shown for a reason, the reason in words, and whose it is if it is one system's."""
    if reason == FIRST:
        return (1 if at == 0 else 5), "one of the first few", ""
    if reason.startswith(COPIED):
        return 0, f"the {reason.removeprefix(COPIED).strip()} for {COPIED}", ""
    return 2 + ("worst", "best", "median").index(reason), f"the {reason} of", name


def _in_words(reasons: Iterable[tuple[int, str, str]]) -> Iterator[str]:
    """Each reason once, with the systems that share it: worst of a, b."""
    names: dict[str, list[str]] = {}
    for _, what, name in sorted(dict.fromkeys(reasons), key=lambda told: told[0]):
        names.setdefault(what, []).append(name)
    return (f"{what} {', '.join(which)}".strip() for what, which in names.items())


def standings(
    results: Results, dataset: str, systems: Sequence[System], chosen: dict[int, tuple[str, ...]]
) -> list[Standing]:
    """The chosen test sequences, counted from 1, with why they are stored; the worst forecast one first."""
    whole = _by_system(results, dataset, systems)
    if not len(whole):
        return [Standing(sequence, 0, 0, 0, why) for sequence, why in chosen.items()]
    order = worst_first(whole.mean(axis=0), _better(results, dataset))
    apart = worst_first(np.ptp(whole, axis=0), "lower") if len(whole) > 1 else []
    place, distance = ({at + 1: number for number, at in enumerate(ranked, start=1)} for ranked in (order, apart))
    told = [
        Standing(sequence, place[sequence], len(order), distance.get(sequence, 0), why)
        for sequence, why in chosen.items()
    ]
    return sorted(told, key=lambda standing: standing.place)


def part(results: Results, dataset: str, systems: Sequence[System], shown: dict[int, set[str]]) -> Part | None:
    """The tables of these systems, each by its first seed; None where no error by sequence is stored.

    ``shown`` says of the sequences on the page, counted from 1, whose forecasts they show.
    """
    metric = results.primary_metric(dataset)
    known = [cell for cell in _cells(results, dataset, systems) if errors(cell) is not None]
    if not known:
        return None
    whole = _by_system(results, dataset, systems)
    names = [label(results, dataset, systems, cell.system) for cell in known]
    rows = []
    for cell, name, error in zip(known, names, whole, strict=True):
        chosen = extremes(error, _better(results, dataset))
        picks = tuple(_pick(cell, metric, error, chosen[place], place, shown) for place in PLACES)
        rows.append(Row(str(cell.system), name, picks))
    return Part(metric, whole.shape[1], tuple(rows), tuple(_apart(known, names, whole, metric, shown)))


def _apart(
    cells: Sequence[CellFiles], names: Sequence[str], whole: np.ndarray, metric: str, shown: dict[int, set[str]]
) -> Iterator[Apart]:
    """The furthest ones of all and, where none of these can be looked at on both sides, the furthest one that can."""
    if len(cells) < 2:
        return
    good = np.array([[goodness(metric, value) for value in row] for row in whole.tolist()])
    both = False
    for place, at in enumerate(worst_first(np.ptp(whole, axis=0), "lower"), start=1):
        best, worst = int(good[:, at].argmax()), int(good[:, at].argmin())
        low, high = (_pick(cells[one], metric, whole[one], at, "apart", shown) for one in (best, worst))
        can_be_seen = low.is_shown and high.is_shown
        if place <= FURTHEST or (can_be_seen and not both):
            systems = str(cells[best].system), str(cells[worst].system)
            yield Apart(place, names[best], names[worst], systems, low, high)
        both = both or can_be_seen
        if both and place >= FURTHEST:
            return


def _pick(cell: CellFiles, metric: str, error: np.ndarray, at: int, statistic: str, shown: dict[int, set[str]]) -> Pick:
    about = {**numbers.data_of(cell.dataset, cell.system, metric, cell.score["mode"]), "seed": str(cell.seed)}
    told = {**about, "sequence": str(at + 1), "statistic": statistic, "value": repr(float(error[at]))}
    number = numbers.Number(numbers.scientific(float(error[at])), told)
    return Pick(at + 1, number, str(cell.system) in shown.get(at + 1, ()))


def _cells(results: Results, dataset: str, systems: Sequence[System]) -> list[CellFiles]:
    """The first seed of each system."""
    return [results.scored(dataset, system)[0] for system in systems]


def _by_system(results: Results, dataset: str, systems: Sequence[System]) -> np.ndarray:
    """The error of each test sequence over all steps for each system that has it stored, (S, N)."""
    found = [errors(cell) for cell in _cells(results, dataset, systems)]
    return np.array([error.mean(axis=1) for error in found if error is not None])


def _better(results: Results, dataset: str) -> Any:
    return catalogue.metric_fact(results.primary_metric(dataset), "better")
