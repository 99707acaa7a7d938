"""The numbers of the report: each rounded for the eye, and whole in attributes that a program can check.

Everything here is a frozen value made from ``Results``; the templates only lay it out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from framecast import catalogue, published
from framecast.figures.base import Results, Spread, System, short
from framecast.params import Study

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Number:
    """A number as it is read, and as ``data-…`` attributes that say exactly what it is."""

    text: str
    data: dict[str, str]


@dataclass(frozen=True)
class Score:
    """A system's score: mean, sd over its seeds where there are several, and where its provenance stands."""

    mean: Number
    sd: Number | None
    seeds: int
    anchor: str


@dataclass(frozen=True)
class Entry:
    """One dataset in one row of a grid table. Everything is None where there is nothing: a hole, not an error."""

    score: Score | None = None
    printed: Number | None = None
    corrected: Number | None = None
    verdict: published.Verdict | None = None


@dataclass(frozen=True)
class Row:
    """A line of a grid table; ``kind`` is trained, baseline or floor."""

    label: str
    kind: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Column:
    """A dataset of a grid table, its metric, and the power of ten its numbers are read in."""

    dataset: str
    metric: str
    power: int
    quoted: bool

    @property
    def unit(self) -> str:
        """The metric with the power of ten: mse_pix01 × 10⁻²."""
        return f"{self.metric} × 10{str(self.power).translate(SUPERSCRIPT)}" if self.power else self.metric


@dataclass(frozen=True)
class Grid:
    """A study as a table: depths (and models, losses) down, datasets across."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    quotes: tuple[tuple[published.Source, published.Table], ...]


@dataclass(frozen=True)
class Comparison:
    """A paired comparison of two systems over the test sequences."""

    a: str
    b: str
    winner: str  #: empty where there is no difference
    loser: str
    difference: Number
    low: Number
    high: Number
    depths: bool  #: both are trained


@dataclass(frozen=True)
class Metric:
    """A column of the table of all metrics."""

    id: str
    unit: str
    better: str


@dataclass(frozen=True)
class Glance:
    """A dataset in one line: the best trained system beside the best baseline."""

    dataset: str
    best: str
    score: Score
    baseline: str
    reference: Score | None
    verdict: str
    pairs: int
    different: int


def anchor(dataset: str, system: System) -> str:
    """The id of a system's provenance, of letters, digits and dashes."""
    return "cell-" + "".join(letter if letter.isalnum() else "-" for letter in f"{dataset}-{system}")


# --- how numbers are written ----------------------------------------------------------------------


def significant(value: float, power: int = 0, digits: int = 4) -> str:
    """``value`` / 10^power with four significant digits, so that a column in one power can be read downwards.

    >>> significant(0.06213, power=-2), significant(1892.3), significant(0.0)
    ('6.213', '1892', '0')
    """
    if not math.isfinite(value):
        return str(value)
    if not value:
        return "0"
    text = f"{value / 10.0**power:.{_decimals(value / 10.0**power, digits)}f}"
    return text.replace("-", "−")


def scientific(value: float) -> str:
    """Four significant digits, in powers of ten where the plain number would be mostly zeros.

    >>> scientific(0.7474), scientific(0.000551)
    ('0.7474', '5.510 × 10⁻⁴')
    """
    if not value or not math.isfinite(value) or 1e-3 <= abs(value) < 1e6:
        return significant(value)
    power = math.floor(math.log10(abs(value)))
    return f"{significant(value, power)} × 10{str(power).translate(SUPERSCRIPT)}"


def _decimals(value: float, digits: int) -> int:
    return max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0


def score(results: Results, dataset: str, system: System, metric: str, power: int | None = None) -> Score | None:
    """Mean and sd of a system, written in a power of ten or (None) by themselves; sd has the mean's last decimal."""
    spread = results.spread(dataset, system, metric)
    if spread is None:
        return None
    data = _data(dataset, system, metric)
    text = scientific(spread.mean) if power is None else significant(spread.mean, power)
    return Score(
        Number(text, {**data, "statistic": "mean", "value": repr(spread.mean)}),
        _sd(spread, data, power),
        spread.seeds,
        anchor(dataset, system),
    )


def _sd(spread: Spread, data: dict[str, str], power: int | None) -> Number | None:
    if spread.sd is None:
        return None
    scale = 10.0 ** (power or 0)
    plain = power is not None or abs(spread.mean) >= 1e-3
    text = f"{spread.sd / scale:.{_decimals(spread.mean / scale, 4)}f}" if plain else scientific(spread.sd)
    return Number(text, {**data, "statistic": "sd", "value": repr(spread.sd)})


def _data(dataset: str, system: System, metric: str) -> dict[str, str]:
    depth = "" if system.depth is None else str(system.depth)
    return {"dataset": dataset, "model": system.model, "depth": depth, "loss": system.loss or "", "metric": metric}


# --- grid tables ----------------------------------------------------------------------------------


def grid(results: Results, study: Study) -> Grid:
    """The grid table of a study: its whole product, whether run or not, then baselines and floors."""
    systems = [System(model, loss, depth) for model in study.models for loss in study.losses for depth in study.depths]
    columns = tuple(_column(results, dataset, systems) for dataset in study.datasets if results.scored(dataset))
    baselines = sorted({system for column in columns for system in results.baselines(column.dataset)}, key=str)
    rows = [_row(results, columns, system, short(systems, system)) for system in systems]
    rows += [_row(results, columns, system, system.model) for system in baselines]
    floors = [_floor(results, column) for column in columns]
    if any(entry.score for entry in floors):
        rows.append(Row("floor", "floor", tuple(floors)))
    return Grid(columns, tuple(rows), _quotes(results, columns, systems))


def _column(results: Results, dataset: str, systems: Sequence[System]) -> Column:
    """Numbers are read in the power of ten of the published value or, without one, of our own best."""
    metric = results.primary_metric(dataset)
    quoted = [found[1].corrected for system in systems if (found := results.literature(dataset, system, metric))]
    spreads = [results.spread(dataset, system, metric) for system in results.systems(dataset)]
    sizes = quoted or [abs(spread.mean) for spread in spreads if spread and spread.mean]
    power = math.floor(math.log10(min(sizes))) if sizes else 0
    return Column(dataset, metric, power if power < -1 or power > 3 else 0, bool(quoted))


def _row(results: Results, columns: Sequence[Column], system: System, label: str) -> Row:
    entries = tuple(_entry(results, column, system) for column in columns)
    return Row(label, "trained" if system.loss else "baseline", entries)


def _entry(results: Results, column: Column, system: System) -> Entry:
    ours = score(results, column.dataset, system, column.metric, column.power)
    found = results.literature(column.dataset, system, column.metric)
    if found is None:
        return Entry(ours)
    table, value = found
    spread = results.spread(column.dataset, system, column.metric)
    verdict = _verdict(results, column.dataset, system, spread, table, value) if spread else None
    data = _data(column.dataset, system, column.metric)
    printed, corrected = (
        Number(significant(number, column.power), {**data, "statistic": reading, "value": repr(number)})
        for reading, number in (("printed", value.printed), ("corrected", value.corrected))
    )
    return Entry(ours, printed, corrected, verdict)


def _verdict(
    results: Results,
    dataset: str,
    system: System,
    spread: Spread,
    table: published.Table,
    value: published.Value,
) -> published.Verdict:
    reasons = published.obstacles(table, results.scored(dataset, system)[0].score)
    return published.verdict(spread.mean, spread.sd, value.corrected, reasons=reasons, better=table.better)


def _floor(results: Results, column: Column) -> Entry:
    known = results.best_reachable(column.dataset, column.metric)
    if known is None:
        return Entry()
    if known.baseline is not None:
        return Entry(score(results, column.dataset, System(known.baseline), column.metric, column.power))
    data = {"dataset": column.dataset, "metric": column.metric, "statistic": "floor", "value": repr(known.value)}
    return Entry(Score(Number(significant(known.value or 0.0, column.power), data), None, 0, ""))


def _quotes(
    results: Results, columns: Sequence[Column], systems: Sequence[System]
) -> tuple[tuple[published.Source, published.Table], ...]:
    """The published tables that a grid table quotes, each once."""
    shown = {
        found[0].number
        for column in columns
        for system in systems
        if (found := results.literature(column.dataset, system, column.metric))
    }
    return tuple((source, table) for source in results.sources for table in source.tables if table.number in shown)


# --- one dataset ----------------------------------------------------------------------------------


def comparisons(results: Results, dataset: str) -> list[Comparison]:
    """The paired comparisons of a dataset, in the order of the table."""
    systems = results.systems(dataset)
    trained = {str(system): short(systems, system) for system in systems}
    rows = results.comparisons[results.comparisons["dataset"] == dataset]
    return [_comparison(row, trained) for row in rows.to_dict("records")]


def _comparison(row: dict[str, Any], trained: dict[str, str]) -> Comparison:
    named = {"dataset": row["dataset"], "metric": row["metric"], "a": row["a"], "b": row["b"]}
    difference, low, high = (
        Number(scientific(row[name]), {**named, "statistic": name, "value": repr(float(row[name]))})
        for name in ("difference", "low", "high")
    )
    a, b = (trained.get(row[side], row[side]) for side in ("a", "b"))
    winner, loser = {"a better": (a, b), "b better": (b, a)}.get(row["verdict"], ("", ""))
    return Comparison(a, b, winner, loser, difference, low, high, {row["a"], row["b"]} <= set(trained))


def all_metrics(results: Results, dataset: str) -> tuple[list[Metric], list[tuple[str, str, list[Score | None]]]]:
    """Every metric of a dataset, and for each system its label, kind and scores."""
    systems = results.systems(dataset)
    metrics = list(dict.fromkeys(results.scores.loc[results.scores["dataset"] == dataset, "metric"]))
    rows = [
        (
            short(systems, system),
            "trained" if system.loss else "baseline",
            [score(results, dataset, system, metric) for metric in metrics],
        )
        for system in [*systems, *results.baselines(dataset)]
    ]
    told = [Metric(metric, *(catalogue.metric_fact(metric, fact) for fact in ("unit", "better"))) for metric in metrics]
    return told, rows


def glance(results: Results, dataset: str) -> Glance | None:
    """The best trained system beside the best baseline, or None while nothing has been trained."""
    metric = results.primary_metric(dataset)
    best = _best(results, dataset, results.systems(dataset), metric)
    ours = score(results, dataset, best, metric) if best else None
    if best is None or ours is None:
        return None
    baseline = _best(results, dataset, results.baselines(dataset), metric)
    compared = comparisons(results, dataset)
    name = short(results.systems(dataset), best)
    between = [entry for entry in compared if {entry.a, entry.b} == {name, str(baseline)}]
    pairs = [entry for entry in compared if entry.depths]
    return Glance(
        dataset=dataset,
        best=name,
        score=ours,
        baseline=baseline.model if baseline else "",
        reference=score(results, dataset, baseline, metric) if baseline else None,
        verdict=_told(between[0]) if between else "not compared",
        pairs=len(pairs),
        different=sum(bool(entry.winner) for entry in pairs),
    )


def _told(comparison: Comparison) -> str:
    return f"{comparison.winner} better" if comparison.winner else "no difference"


def _best(results: Results, dataset: str, systems: Sequence[System], metric: str) -> System | None:
    sign = 1 if catalogue.metric_fact(metric, "better") == "lower" else -1
    means = {system: spread.mean for system in systems if (spread := results.spread(dataset, system, metric))}
    return min(means, key=lambda system: sign * means[system]) if means else None
