"""The literature number by number: which figure of ours answers which of a source, and its tables in full."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from framecast import published
from framecast.report.numbers import Number, Score, data_of, power_of, scaled, score, significant
from framecast.report.recorded import Recorded, recorded
from framecast.report.tables import verdict_of
from framecast.results import Results, System
from framecast.results.records import Record


@dataclass(frozen=True)
class Answered:
    """A figure or table of a source, and where ours stands on the page: dataset → the id of the figure, or ""."""

    source: published.Source
    entry: published.Counterpart
    places: dict[str, str]


@dataclass(frozen=True)
class Line:
    """A published value in both readings, beside ours; ``unit`` is the metric and the power of ten they are read in."""

    dataset: str
    depth: int
    unit: str
    printed: Number
    corrected: Number
    ours: Score | None
    verdict: published.Verdict | None
    recorded: Recorded | None


@dataclass(frozen=True)
class Whole:
    """A table of a source with every value that it has, whether we have one beside it or not."""

    source: published.Source
    table: published.Table
    lines: tuple[Line, ...]

    @property
    def has_record(self) -> bool:
        """Whether a recorded number stands beside one of its values."""
        return any(line.recorded for line in self.lines)


def answered(results: Results, drawn: Collection[tuple[str, str]]) -> list[Answered]:
    """What the sources show, in their order; ``drawn`` are the figures, each of a dataset, that stand on the page."""
    return [
        Answered(source, entry, {name: _place(entry.figure, name, drawn) for name in entry.datasets})
        for source in results.sources
        for entry in source.counterparts
    ]


def _place(figure: str, dataset: str, drawn: Collection[tuple[str, str]]) -> str:
    return f"{figure}-{dataset}" if (figure, dataset) in drawn else ""


def whole_tables(results: Results, records: Sequence[Record] = ()) -> list[Whole]:
    """Every published table that has several values, its own rows and columns being datasets and depths."""
    return [
        Whole(source, table, tuple(_line(results, table, value, records) for value in table.values))
        for source in results.sources
        for table in source.tables
        if len(table.values) > 1
    ]


def _line(results: Results, table: published.Table, value: published.Value, records: Sequence[Record]) -> Line:
    system, power = System(table.model, table.loss, value.depth), power_of(value.corrected)
    data = data_of(value.dataset, system, table.metric, table.mode)
    printed, corrected = (
        Number(significant(number, power), {**data, "statistic": reading, "value": repr(number)})
        for reading, number in (("printed", value.printed), ("corrected", value.corrected))
    )
    is_scored = bool(results.scored(value.dataset, system))
    spread = results.spread(value.dataset, system, table.metric, table.mode) if is_scored else None
    return Line(
        dataset=value.dataset,
        depth=value.depth,
        unit=scaled(table.metric, power),
        printed=printed,
        corrected=corrected,
        ours=score(results, value.dataset, system, table.metric, power, table.mode) if spread else None,
        verdict=verdict_of(results, value.dataset, system, spread, table, value) if spread else None,
        recorded=recorded(records, table, value, power),
    )
