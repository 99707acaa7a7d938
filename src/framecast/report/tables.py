"""The tables of the report.

Everything here is a frozen value made from ``Results``; the templates only lay it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framecast import published
from framecast.report.numbers import Number, Score, data_of, power_of, scientific, score, significant
from framecast.report.recorded import Recorded, recorded
from framecast.results import Results, Spread, System, goodness, label, short, trained_steps
from framecast.results.records import Record
from framecast.study import catalogue
from framecast.study.params import Study
from framecast.upkeep.diff.words import scaled

SOURCES = {
    "official": "published data",
    "bundled": "bundled data",
    "stand-in": "stand-in data",
    "generated": "generated data",
}


@dataclass(frozen=True)
class Entry:
    """One dataset in one row of a grid table. Everything is None where there is nothing: a hole, not an error."""

    score: Score | None = None
    printed: Number | None = None
    corrected: Number | None = None
    verdict: published.Verdict | None = None
    recorded: Recorded | None = None


@dataclass(frozen=True)
class Row:
    """A line of a grid table; ``kind`` is trained, baseline or floor, ``marks`` what must not go unsaid."""

    label: str
    kind: str
    entries: tuple[Entry, ...]
    marks: tuple[str, ...] = ()
    system: str = ""  #: the whole name; empty for a floor

    @property
    def seeds(self) -> str:
        """Over how many seeds its means are: one number, or the range over the datasets; a baseline has none."""
        counts = {entry.score.seeds for entry in self.entries if entry.score and self.kind == "trained"}
        return "–".join(map(str, sorted({min(counts), max(counts)}))) if counts else "–"


@dataclass(frozen=True)
class Column:
    """A dataset of a grid table, its metric and mode, and the power of ten its numbers are read in."""

    dataset: str
    metric: str
    mode: str
    power: int
    quoted: bool
    recorded: bool  #: whether a published system of it has a recorded number
    better: str = ""  #: which way is better
    sequences: int = 0  #: of the test split

    @property
    def unit(self) -> str:
        """The metric with the power of ten: mse_pix01 × 10⁻²."""
        return scaled(self.metric, self.power)


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
    systems: tuple[str, str] = ("", "")  #: the whole names of a and b


@dataclass(frozen=True)
class Metric:
    """A column of the table of all metrics."""

    id: str
    unit: str
    better: str


@dataclass(frozen=True)
class MetricsRow:
    """A system in the table of all metrics."""

    label: str
    kind: str
    marks: tuple[str, ...]
    scores: tuple[Score | None, ...]
    system: str = ""  #: the whole name
    seeds: int = 1


@dataclass(frozen=True)
class AllMetrics:
    """Every metric of a dataset in one mode."""

    mode: str
    sequences: int
    metrics: tuple[Metric, ...]
    rows: tuple[MetricsRow, ...]


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
    sequences: int = 0
    better: str = ""  #: which way the metric is better
    system: str = ""  #: the whole name of the best


# --- grid tables ----------------------------------------------------------------------------------


def grid(results: Results, study: Study, records: Sequence[Record] = ()) -> Grid:
    """The grid table of a study: its whole product, whether run or not, then baselines and floors.

    Beside published values stands what ``records`` at published settings reached.
    """
    systems = [System(model, loss, depth) for model, loss, depth in study.systems]
    shown = [dataset for dataset in study.every("datasets") if results.scored(dataset)]
    columns = tuple(_column(results, dataset, systems, records) for dataset in shown)
    baselines = sorted({system for column in columns for system in results.baselines(column.dataset)}, key=str)
    rows = [_row(results, columns, system, short(systems, system), records) for system in systems]
    rows += [_row(results, columns, system, system.model) for system in baselines]
    floors = [_floor(results, column) for column in columns]
    if any(entry.score for entry in floors):
        rows.append(Row("floor", "floor", tuple(floors)))
    return Grid(columns, tuple(rows), _quotes(results, columns, systems))


def _column(results: Results, dataset: str, systems: Sequence[System], records: Sequence[Record]) -> Column:
    """Numbers are read in the power of ten of the published value or, without one, of our own best."""
    metric = results.primary_metric(dataset)
    known = [found for system in systems if (found := results.literature(dataset, system, metric))]
    quoted = [value.corrected for _, value in known]
    spreads = [results.spread(dataset, system, metric) for system in results.systems(dataset)]
    sizes = quoted or [abs(spread.mean) for spread in spreads if spread and spread.mean]
    power = power_of(min(sizes)) if sizes else 0
    has_record = any(recorded(records, *found) for found in known)
    return Column(
        dataset,
        metric,
        results.primary_mode(dataset),
        power,
        bool(quoted),
        has_record,
        metric_of(metric).better,
        results.scored(dataset)[0].score["sequences"],
    )


def _row(results: Results, columns: Sequence[Column], system: System, name: str, records: Sequence[Record] = ()) -> Row:
    entries = tuple(_entry(results, column, system, records) for column in columns)
    told = tuple(dict.fromkeys(mark for column in columns for mark in marks(results, column.dataset, system)))
    return Row(name, "trained" if system.loss else "baseline", entries, told, str(system))


def marks(results: Results, dataset: str, system: System) -> tuple[str, ...]:
    """What must stand beside a system wherever it appears."""
    scores = [cell.score for cell in results.scored(dataset, system)]
    return tuple(dict.fromkeys(mark for score in scores for mark in marks_of(score, results.primary_mode(dataset))))


def marks_of(score: Mapping[str, Any], mode: str) -> tuple[str, ...]:
    """The same of a cell, by its ``score.json``."""
    trained = trained_steps(score, mode)
    found = {
        "leaky": score["causal"] != "causal",
        "replication": score.get("replication", False),
        f"trained on {trained} steps": trained is not None,
    }
    return tuple(mark for mark, holds in found.items() if holds)


def _entry(results: Results, column: Column, system: System, records: Sequence[Record]) -> Entry:
    ours = score(results, column.dataset, system, column.metric, column.power)
    found = results.literature(column.dataset, system, column.metric)
    if found is None:
        return Entry(ours)
    table, value = found
    spread = results.spread(column.dataset, system, column.metric)
    verdict = verdict_of(results, column.dataset, system, spread, table, value) if spread else None
    data = data_of(column.dataset, system, column.metric, table.mode)
    printed, corrected = readings(value, data, column.power)
    return Entry(ours, printed, corrected, verdict, recorded(records, table, value, column.power))


def readings(value: published.Value, data: dict[str, str], power: int) -> tuple[Number, Number]:
    """A published value as it is printed, and as corrected."""
    printed, corrected = (
        Number(significant(number, power), {**data, "statistic": reading, "value": repr(number)})
        for reading, number in (("printed", value.printed), ("corrected", value.corrected))
    )
    return printed, corrected


def verdict_of(
    results: Results,
    dataset: str,
    system: System,
    spread: Spread,
    table: published.Table,
    value: published.Value,
) -> published.Verdict:
    """What may be said of a system's score beside a published value."""
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
    shown = [
        found[0]
        for column in columns
        for system in systems
        if (found := results.literature(column.dataset, system, column.metric))
    ]
    return tuple((source, table) for source in results.sources for table in source.tables if table in shown)


# --- one dataset ----------------------------------------------------------------------------------


def comparisons(results: Results, dataset: str) -> list[Comparison]:
    """The paired comparisons of a dataset by its primary metric in its primary mode, in the order of the table."""
    if not results.scored(dataset):
        return []
    systems = results.systems(dataset)
    trained = {str(system): label(results, dataset, systems, system) for system in systems}
    rows = results.compared(dataset, results.primary_metric(dataset))
    return [_comparison(row, trained) for row in rows.to_dict("records")]


def _comparison(row: dict[str, Any], trained: dict[str, str]) -> Comparison:
    named = {name: row[name] for name in ("dataset", "mode", "metric", "a", "b")}
    difference, low, high = (
        Number(scientific(row[name]), {**named, "statistic": name, "value": repr(float(row[name]))})
        for name in ("difference", "low", "high")
    )
    a, b = (trained.get(row[side], row[side]) for side in ("a", "b"))
    winner, loser = {"a better": (a, b), "b better": (b, a)}.get(row["verdict"], ("", ""))
    return Comparison(
        a, b, winner, loser, difference, low, high, {row["a"], row["b"]} <= set(trained), (row["a"], row["b"])
    )


def all_metrics(results: Results, dataset: str, mode: str, metrics: Sequence[str] = ()) -> AllMetrics:
    """Every metric of a dataset in a mode, or those that are named, for each of its systems."""
    systems = results.systems(dataset)
    metrics = metrics or list(dict.fromkeys(results.scores.loc[results.scores["dataset"] == dataset, "metric"]))
    rows = tuple(
        MetricsRow(
            short(systems, system),
            "trained" if system.loss else "baseline",
            marks(results, dataset, system),
            tuple(score(results, dataset, system, metric, mode=mode) for metric in metrics),
            str(system),
            len(results.scored(dataset, system)),
        )
        for system in [*systems, *results.baselines(dataset)]
    )
    count = results.scored(dataset)[0].score["sequences"]
    return AllMetrics(mode, count, tuple(metric_of(metric) for metric in metrics), rows)


def metric_of(identifier: str) -> Metric:
    """A metric with its unit, and which way is better."""
    unit, better = (catalogue.metric_fact(identifier, fact) for fact in ("unit", "better"))
    return Metric(identifier, unit, "nearer to 1" if better == "one" else better)


def glance(results: Results, dataset: str) -> Glance | None:
    """The best trained system beside the best baseline, or None while nothing has been trained."""
    metric = results.primary_metric(dataset)
    best = _best(results, dataset, results.systems(dataset), metric)
    ours = score(results, dataset, best, metric) if best else None
    if best is None or ours is None:
        return None
    baseline = _best(results, dataset, results.baselines(dataset), metric)
    compared = comparisons(results, dataset)
    name = label(results, dataset, results.systems(dataset), best)
    between = [entry for entry in compared if {entry.a, entry.b} == {name, str(baseline)}]
    pairs = [entry for entry in compared if entry.depths]
    return Glance(
        dataset=dataset,
        best=name if best.model in name else f"{best.model}, {name}",
        score=ours,
        baseline=baseline.model if baseline else "",
        reference=score(results, dataset, baseline, metric) if baseline else None,
        verdict=_told(between[0]) if between else "not compared",
        pairs=len(pairs),
        different=sum(bool(entry.winner) for entry in pairs),
        sequences=results.scored(dataset)[0].score["sequences"],
        better=metric_of(metric).better,
        system=str(best),
    )


def _told(comparison: Comparison) -> str:
    return f"{comparison.winner} better" if comparison.winner else "no difference"


def _best(results: Results, dataset: str, systems: Sequence[System], metric: str) -> System | None:
    means = {system: spread.mean for system in systems if (spread := results.spread(dataset, system, metric))}
    return max(means, key=lambda system: goodness(metric, means[system])) if means else None
