"""The sides of a claim's comparison, found in results, and the interval of what is compared.

A comparison measures one quantity. Its 95 % interval is that of the paired bootstrap (``evaluation.bootstrap``) over
test sequences, or over what groups them, and over seeds:

    ā             its own; of a measure of the training (``results.trainings``) over seeds alone
    ā − b̄          paired, or that of the table of comparisons where the pair stands there
    r = ā / b̄      paired: that of ā − r·b̄, divided by b̄ (the ratio is linear in both to first order)
    unpaired r    sides on different datasets, or each relative to another side: on the logarithm, where the distances
                  of the ends of both add in squares, since the two are independent (or, where they are not, alike)
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from framecast.evaluation.bootstrap import GROUPS, compare
from framecast.published.claims import Side
from framecast.results import CellFiles, Results, System
from framecast.results.trainings import MEASURES, of_each

Kind = Literal["value", "difference", "ratio", "step"]

#: Of more sequences than this neighbours are drawn together: an interval is no other for it, and is had sooner.
BLOCKS = 500


@dataclass(frozen=True)
class Interval:
    """A quantity with its 95 % interval; without one where no values of each test sequence are known."""

    estimate: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Measured:
    """A side of a comparison, found in results."""

    results: Results
    dataset: str
    system: System
    mode: str
    metric: str
    steps: tuple[int, int] | None
    per: "Measured | None" = None

    @property
    def cells(self) -> list[CellFiles]:
        """One of each seed."""
        return self.results.scored(self.dataset, self.system)

    @property
    def values(self) -> np.ndarray | None:
        """The mean over the steps of each test sequence, (seeds, N), or None where these are not known.

        A measure of the training has one value, (seeds, 1).
        """
        if self.is_of_training:
            return of_each(self.metric, self.cells)
        name = f"{self.mode}/{self.metric}"
        stored = [cell.sequences for cell in self.cells]
        if not all(name in sequences for sequences in stored):
            return None
        first, last = self.steps or (1, stored[0][name].shape[1])
        return np.stack([sequences[name][:, first - 1 : last].mean(1) for sequences in stored])

    @property
    def groups(self) -> np.ndarray | None:
        """Of each test sequence what it shares with others, (N,), or None where each stands by itself."""
        return None if self.is_of_training else self.cells[0].sequences.get(GROUPS)

    @property
    def is_of_training(self) -> bool:
        """Whether the metric is a measure of each training, and not of each test sequence."""
        return self.metric in MEASURES

    @property
    def mean(self) -> float:
        """From the tables, which are there where values of each sequence are not; NaN where they do not hold it."""
        if self.is_of_training:
            values = self.values
            return math.nan if values is None else float(values.mean())
        if self.steps is None:
            spread = self.results.spread(self.dataset, self.system, self.metric, self.mode)
            assert spread is not None
            return spread.mean
        curve = self.results.curve(self.dataset, self.system, self.metric, self.mode)
        return float(curve[curve["step"].between(*self.steps)]["mean"].mean())

    @property
    def everything(self) -> "tuple[Measured, ...]":
        """Itself and what it is taken relative to."""
        return (self, *(self.per.everything if self.per else ()))

    def at(self, first: int, last: int) -> "Measured":
        """The same over other steps."""
        return replace(self, steps=(first, last))

    def __str__(self) -> str:
        first, last = self.steps or (0, 0)
        steps = "" if not self.steps else f", step {first}" if first == last else f", steps {first} to {last}"
        return f"{self.system}{steps}{f' per {self.per}' if self.per else ''}"


# --- which systems a side means ------------------------------------------------------------------


def pair(results: Results, dataset: str, a: Side, b: Side | None) -> tuple[System | None, System | None]:
    """The systems of two sides: where neither says how deep and both are of one model, as deep as both have it."""
    first, second = _systems(results, dataset, a), _systems(results, dataset, b) if b else []
    if b and first and second and a.model == b.model and a.depth is None and b.depth is None:
        common = {system.depth for system in first} & {system.depth for system in second}
        first = [system for system in first if system.depth in common] or first
        second = [system for system in second if system.depth in common]
    return (first[-1] if first else None), (second[-1] if second else None)


def _systems(results: Results, dataset: str, side: Side) -> list[System]:
    """The scored systems that a side may mean, by depth; of its losses the first that there is."""
    scored = {cell.system for cell in results.scored(side.dataset or dataset) if cell.model == side.model}
    if not side.losses:
        return [system for system in scored if system.loss is None]
    for loss in side.losses:
        found = [system for system in scored if system.loss == loss and side.depth in (None, system.depth)]
        if found:
            return sorted(found, key=lambda system: system.depth or 0)
    return []


def measure(results: Results, dataset: str, metric: str, mode: str, side: Side, system: System) -> Measured:
    """A side of a claim with the system that was found for it, and what it is taken relative to."""
    own = side.dataset or dataset
    per = None
    if side.per:
        found = _systems(results, side.per.dataset or own, side.per)
        deep = [one for one in found if one.depth == system.depth] or found
        chosen = deep[-1] if deep else System(side.per.model, (side.per.losses or (None,))[0], side.per.depth)
        per = measure(results, own, metric, mode, side.per, chosen)
    return Measured(results, own, system, mode, metric, side.steps, per)


def label(side: Measured, dataset: str) -> str:
    """A side in a line about a dataset: another one is named."""
    if side.per and side.per.dataset != side.dataset:
        own = label(replace(side, per=None), dataset)
        return (
            f"{own} per the same on {side.per.dataset}" if side.per.system == side.system else f"{own} per {side.per}"
        )
    return f"{side} on {side.dataset}" if side.dataset != dataset else str(side)


def asked_for(dataset: str, side: Side) -> str:
    """The cells that a side asks for, as they are named, with * for any depth."""
    parts: Iterable[Any] = (f"depth-{side.depth or '*'}", " or ".join(side.losses)) if side.losses else ()
    return "/".join((side.dataset or dataset, side.model, *parts))


# --- intervals ------------------------------------------------------------------------------------


def interval(kind: Kind, sides: Sequence[Measured]) -> Interval:
    """The quantity of a comparison, with its interval where every side has values of each test sequence."""
    if kind == "value":
        return _of(sides[0])
    a, b = sides
    if kind == "ratio":
        return _ratio(a, b)
    tabled = _tabled(a, b)
    if tabled:
        return tabled
    known = a.values, b.values
    if known[0] is None or known[1] is None:
        return Interval(a.mean - b.mean)
    found = _compare(known[0], known[1], a.groups)
    return Interval(found.difference, found.low, found.high)


def _of(side: Measured) -> Interval:
    if side.per:
        return _ratio(replace(side, per=None), side.per)
    values = side.values
    if values is None:
        return Interval(side.mean)
    found = _compare(values, np.zeros((1, values.shape[1])), side.groups)
    return Interval(found.difference, found.low, found.high)


def _ratio(a: Measured, b: Measured) -> Interval:
    """Of paired sides, or of two that were measured on other sequences. NaN where one is divided by 0 or less."""
    if a.dataset != b.dataset or a.per or b.per:
        return _unpaired(_of(a), _of(b))
    first, second = a.values, b.values
    above, below = (a.mean, b.mean) if first is None or second is None else (first.mean(), second.mean())
    if not below > 0:
        return Interval(math.nan)
    ratio = float(above / below)
    if first is None or second is None:
        return Interval(ratio)
    found = _compare(first, ratio * second, a.groups)
    return Interval(ratio, ratio + found.low / float(below), ratio + found.high / float(below))


def _unpaired(a: Interval, b: Interval) -> Interval:
    if not (a.estimate > 0 and b.estimate > 0):
        return Interval(math.nan)
    ratio = a.estimate / b.estimate

    def end(one: float, other: float) -> float:
        """The distance of an end, of both parts together, on the logarithm."""
        if one <= 0 or other <= 0 or math.inf in (one, other):
            return math.inf
        return math.hypot(math.log(one / a.estimate), math.log(other / b.estimate))

    if math.isnan(a.low) or math.isnan(b.low):
        return Interval(ratio)
    return Interval(ratio, ratio * math.exp(-end(a.low, b.high)), ratio * math.exp(min(end(a.high, b.low), 700.0)))


def _tabled(a: Measured, b: Measured) -> Interval | None:
    """The row of the table of comparisons, where these two stand in it over the whole horizon."""
    if a.steps or b.steps or a.dataset != b.dataset:
        return None
    rows = a.results.compared(a.dataset, a.metric, a.mode)
    for first, second, sign in ((a, b, 1), (b, a, -1)):
        row = rows[(rows["a"] == str(first.system)) & (rows["b"] == str(second.system))]
        if len(row):
            ends = sorted(sign * float(row[name].iloc[0]) for name in ("low", "high"))
            return Interval(sign * float(row["difference"].iloc[0]), *ends)
    return None


def _compare(a: np.ndarray, b: np.ndarray, groups: np.ndarray | None) -> Any:
    count = a.shape[1]
    if groups is None and count > BLOCKS:
        groups = np.arange(count) * BLOCKS // count
    return compare(a, b, groups=groups)
