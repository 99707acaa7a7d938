"""The table of component impact: every measured change, and what it does to each compared metric in each mode."""

import math
from dataclasses import dataclass

from framecast.figures.shared import components
from framecast.report import numbers, tables
from framecast.results import Results, short
from framecast.upkeep.diff.words import scaled


@dataclass(frozen=True)
class Impact:
    """A change in one metric and mode; ``word`` is better, worse or no difference."""

    difference: numbers.Number
    low: numbers.Number
    high: numbers.Number
    word: str


@dataclass(frozen=True)
class ImpactRow:
    """A change, the systems before and after it, and its impact on each metric, None where it was not compared."""

    what: str
    before: str
    after: str
    marks: tuple[str, ...]
    impacts: tuple[Impact | None, ...]
    systems: tuple[str, str] = ("", "")  #: the whole names of both


@dataclass(frozen=True)
class ImpactColumn:
    """A metric, and the power of ten its differences are read in."""

    metric: tables.Metric
    power: int

    @property
    def unit(self) -> str:
        """The metric with the power of ten."""
        return scaled(self.metric.id, self.power)


@dataclass(frozen=True)
class ImpactTable:
    """One mode: changes down, in their groups, metrics across."""

    mode: str
    columns: tuple[ImpactColumn, ...]
    groups: tuple[tuple[str, tuple[ImpactRow, ...]], ...]


def impact(results: Results, dataset: str) -> list[ImpactTable]:
    """A table for each mode; none where no pair of systems differs in loss or design."""
    if not results.systems(dataset):
        return []
    changes = components.changes(results, dataset)
    metrics = components.metrics(results, dataset)
    return [_table(results, dataset, changes, metrics, mode) for mode in results.modes(dataset)] if changes else []


def _table(
    results: Results, dataset: str, changes: list[components.Change], metrics: list[str], mode: str
) -> ImpactTable:
    columns = tuple(_column(results, dataset, changes, metric, mode) for metric in metrics)
    groups = (
        (group, tuple(_row(results, dataset, change, columns, mode) for change in changes if change.group == group))
        for group in components.GROUPS
    )
    return ImpactTable(mode, columns, tuple((group, rows) for group, rows in groups if rows))


def _column(results: Results, dataset: str, changes: list[components.Change], metric: str, mode: str) -> ImpactColumn:
    effects = (components.effect(results, dataset, change, metric, mode) for change in changes)
    largest = max((abs(effect.difference) for effect in effects if effect), default=0.0)
    power = math.floor(math.log10(largest)) if largest else 0
    return ImpactColumn(tables.metric_of(metric), power if power < -1 else 0)


def _row(
    results: Results, dataset: str, change: components.Change, columns: tuple[ImpactColumn, ...], mode: str
) -> ImpactRow:
    pair = (change.before, change.after)
    families = {(system.model, system.loss) for system in pair}
    alike = [system for system in results.systems(dataset) if (system.model, system.loss) in families]  # at any depth
    return ImpactRow(
        change.what,
        short(alike, change.before),
        short(alike, change.after),
        tables.marks(results, dataset, change.after),
        tuple(_impact(results, dataset, change, column, mode) for column in columns),
        (str(change.before), str(change.after)),
    )


def _impact(
    results: Results, dataset: str, change: components.Change, column: ImpactColumn, mode: str
) -> Impact | None:
    """Difference and interval with as many decimals as the interval's width bears."""
    metric = column.metric.id
    effect = components.effect(results, dataset, change, metric, mode)
    if effect is None:
        return None
    about = {
        "dataset": dataset,
        "metric": metric,
        "mode": mode,
        "before": str(change.before),
        "after": str(change.after),
    }
    scale = 10.0**column.power
    width = (effect.high - effect.low) / scale
    decimals = min(6, max(1, 2 - math.floor(math.log10(width)))) if width and math.isfinite(width) else 4
    difference, low, high = (
        numbers.Number(
            numbers.fixed(value / scale, decimals),
            {**about, "statistic": f"effect-{name}", "value": repr(value)},
        )
        for name, value in (("difference", effect.difference), ("low", effect.low), ("high", effect.high))
    )
    return Impact(difference, low, high, effect.verdict)
