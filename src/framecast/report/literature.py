"""The literature number by number: which figure of ours answers which of a source, and its tables in full."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from framecast import published
from framecast.report import tables
from framecast.report.numbers import Number, Score, data_of, power_of, score
from framecast.report.recorded import Recorded, as_recorded, recorded
from framecast.report.tables import readings, verdict_of
from framecast.results import Results, Spread, System
from framecast.results.claims import PUBLISHED
from framecast.results.records import Record
from framecast.upkeep.diff.words import scaled

Place = tuple[Results, Record | None]  #: where a score of ours stands: results of a record, or those of the page


@dataclass(frozen=True)
class Answered:
    """A figure or table of a source, and where ours stands on the page: dataset → the id of the figure, or ""."""

    source: published.Source
    entry: published.Counterpart
    places: dict[str, str]


@dataclass(frozen=True)
class Line:
    """A published value in both readings, beside ours; ``unit`` is the metric and the power of ten they are read in.

    ``record`` is the recorded run that ours is from; empty where it is this page's, or where there is none.
    """

    dataset: str
    depth: int | None
    unit: str
    printed: Number
    corrected: Number
    ours: Score | None
    verdict: published.Verdict | None
    record: str
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


@dataclass(frozen=True)
class Beside:
    """A published value, and ours by the same metric in the same mode, where there is one."""

    printed: Number
    ours: Score | None
    verdict: published.Verdict | None


@dataclass(frozen=True)
class PrintedRow:
    """A row of a published table: what the source calls the system, ours, and metric by metric both values.

    ``model`` is ours of the published name or the one instead, and empty for a system that is not ours. ``record`` is
    the recorded run that ours is from; empty where it is this page's, or where there is none.
    """

    label: str
    model: str
    system: str
    marks: tuple[str, ...]
    record: str
    entries: tuple[Beside | None, ...]
    uncomputed: tuple[Number | None, ...]

    @property
    def obstacle(self) -> published.Verdict | None:
        """What keeps the whole row from being compared, where it is the same for each of its values."""
        found = {entry.verdict for entry in self.entries if entry and entry.verdict}
        return found.pop() if len(found) == 1 and all(verdict.reasons for verdict in found) else None


@dataclass(frozen=True)
class PrintedTable:
    """A published table whose rows are systems and whose columns are metrics, those not computed here last."""

    source: published.Source
    number: str
    dataset: str
    mode: str
    lengths: str
    metrics: tuple[tables.Metric, ...]
    uncomputed: tuple[str, ...]
    rows: tuple[PrintedRow, ...]
    notes: tuple[str, ...]  #: one that is not about every row says whose it is

    @property
    def has_ours(self) -> bool:
        """Whether a number of ours stands beside one of its values."""
        return any(entry and entry.ours for row in self.rows for entry in row.entries)

    @property
    def common(self) -> tuple[str, ...]:
        """What keeps every row that has a number of ours from being compared, where there are several."""
        obstacles = [row.obstacle for row in self.rows if row.system]
        if len(obstacles) < 2 or not all(obstacles):
            return ()
        told = [found.reasons for found in obstacles if found]
        return tuple(reason for reason in told[0] if all(reason in reasons for reasons in told))


def answered(results: Results, drawn: Collection[tuple[str, str]]) -> list[Answered]:
    """What the sources show, in their order; ``drawn`` are the figures, each of a dataset, that stand on the page."""
    return [
        Answered(source, entry, {name: _place(entry.figure, name, drawn) for name in entry.datasets})
        for source in results.sources
        for entry in source.counterparts
    ]


def _place(figure: str, dataset: str, drawn: Collection[tuple[str, str]]) -> str:
    return f"{figure}-{dataset}" if (figure, dataset) in drawn else ""


@dataclass(frozen=True)
class OfSource:
    """The published tables of systems by metrics of one source."""

    source: published.Source
    tables: tuple[PrintedTable, ...]

    @property
    def with_ours(self) -> int:
        """How many of them have a number of ours beside one of theirs."""
        return sum(table.has_ours for table in self.tables)


def whole_tables(results: Results, records: Sequence[Record] = ()) -> list[Whole]:
    """Every published table that has several values, its own rows and columns being datasets and depths."""
    places = _places(results, records)
    return [
        Whole(source, table, tuple(_line(table, value, records, places) for value in table.values))
        for source in results.sources
        for table in source.tables
        if len(table.values) > 1
    ]


def _line(table: published.Table, value: published.Value, records: Sequence[Record], places: Sequence[Place]) -> Line:
    """Ours is the page's score or, unless a record has one at published settings anyhow, that of the latest record."""
    system, power = System(table.model, table.loss, value.depth), power_of(value.corrected)
    data = data_of(value.dataset, system, table.metric, table.mode)
    printed, corrected = readings(value, data, power)
    known = recorded(records, table, value, power)
    allowed = [place for place in places if place[1] is None or known is None]
    origin, record = next((place for place in allowed if _spread(place[0], table, value)), (None, None))
    spread = _spread(origin, table, value) if origin else None
    ours = score(origin, value.dataset, system, table.metric, power, table.mode) if origin else None
    return Line(
        dataset=value.dataset,
        depth=value.depth,
        unit=scaled(table.metric, power),
        printed=printed,
        corrected=corrected,
        ours=as_recorded(ours, record) if record else ours,
        verdict=verdict_of(origin, value.dataset, system, spread, table, value) if origin and spread else None,
        record=record.name if record else "",
        recorded=known,
    )


def _spread(results: Results, table: published.Table, value: published.Value) -> Spread | None:
    """That of the published system in some results."""
    system = System(table.model, table.loss, value.depth)
    is_scored = results.scored(value.dataset, system)
    return results.spread(value.dataset, system, table.metric, table.mode) if is_scored else None


def _places(results: Results, records: Sequence[Record]) -> list[Place]:
    """Where a score of ours may stand: on the page, then in the records, the latest first."""
    latest = sorted(records, key=lambda one: (one.facts.commit.date, one.name), reverse=True)
    return [(results, None), *((record.results, record) for record in latest)]


def by_source(printed: Sequence[PrintedTable]) -> list[OfSource]:
    """The same, gathered by their sources."""
    found: dict[str, list[PrintedTable]] = {}
    for table in printed:
        found.setdefault(table.source.id, []).append(table)
    return [OfSource(of_it[0].source, tuple(of_it)) for of_it in found.values()]


def printed_tables(results: Results, records: Sequence[Record] = ()) -> list[PrintedTable]:
    """Every published table of systems by metrics, beside ours.

    Ours is what was scored at published settings, on the page or by the latest record. Where nothing was, it is the
    page's own score or that of the latest record, at a reduced scale, which no verdict is passed on.
    """
    found: dict[tuple[str, str, str, str], list[published.Table]] = {}
    for source in results.sources:
        for table in source.tables:
            if len(table.values) == 1:
                about = source.id, table.number, table.values[0].dataset, table.mode
                found.setdefault(about, []).append(table)
    named = {source.id: source for source in results.sources}
    places = sorted(_places(results, records), key=lambda place: place[0].scale != PUBLISHED)
    return [_printed(named[about[0]], of_it, places) for about, of_it in found.items()]


def _printed(source: published.Source, rows: Sequence[published.Table], places: Sequence[Place]) -> PrintedTable:
    first = rows[0]
    metrics = tuple(dict.fromkeys(table.metric for table in rows))
    uncomputed = tuple(dict.fromkeys(name for table in rows for name in table.uncomputed))
    by_system: dict[tuple[str, str], list[published.Table]] = {}
    for table in rows:
        by_system.setdefault((_called(table), table.model), []).append(table)
    return PrintedTable(
        source=source,
        number=first.number,
        dataset=first.values[0].dataset,
        mode=first.mode,
        lengths=f"{first.context} → {first.horizon}",
        metrics=tuple(tables.metric_of(metric) for metric in metrics),
        uncomputed=uncomputed,
        rows=tuple(_printed_row(name, of_it, metrics, uncomputed, places) for (name, _), of_it in by_system.items()),
        notes=tuple(_notes(rows)),
    )


def _notes(rows: Sequence[published.Table]) -> Iterator[str]:
    """Protocols, then notes, then caveats, each once, and after the systems that it is about where not all are."""
    told = [(table, f"Protocol: {table.protocol}.") for table in rows]
    told += [(table, table.note) for table in rows]
    told += [(table, caveat) for table in rows for caveat in table.caveats]
    about: dict[str, list[str]] = {}
    for table, note in told:
        about.setdefault(" ".join(note.split()), []).append(_called(table))
    everybody = {_called(table) for table in rows}
    for note, names in about.items():
        yield note if set(names) == everybody else f"{', '.join(dict.fromkeys(names))}: {note}"


def _called(table: published.Table) -> str:
    """What the source calls the system: the title up to its first comma."""
    return table.title.split(",")[0]


def _printed_row(
    label: str,
    row: Sequence[published.Table],
    metrics: Sequence[str],
    uncomputed: Sequence[str],
    places: Sequence[Place],
) -> PrintedRow:
    origin, record, system = _ours(row, places) or (None, None, None)
    by_metric = {table.metric: table for table in row}
    entries = tuple(
        _beside(origin, system, by_metric[metric], record) if metric in by_metric else None for metric in metrics
    )
    return PrintedRow(
        label=label,
        model=row[0].model or row[0].instead,
        system=str(system) if system else "",
        marks=tables.marks(origin, row[0].values[0].dataset, system) if origin and system else (),
        record=record.name if record else "",
        entries=entries,
        uncomputed=tuple(_uncomputed(row, name) for name in uncomputed),
    )


def _uncomputed(row: Sequence[published.Table], name: str) -> Number | None:
    """What a source prints of a system by a metric that is not computed here."""
    for table in row:
        if name in table.uncomputed:
            value, printed = table.values[0], table.uncomputed[name]
            about = data_of(value.dataset, System(table.model, table.loss, value.depth), name, table.mode)
            return Number(f"{printed:g}", {**about, "statistic": "published", "value": repr(printed)})
    return None


def _ours(row: Sequence[published.Table], places: Sequence[Place]) -> tuple[Results, Record | None, System] | None:
    """Ours that is scored by one of the row's metrics, and where: the published model and loss, else the one instead;
    at the published depth, or the deepest."""
    dataset, depth = row[0].values[0].dataset, row[0].values[0].depth
    for is_wanted in (_is_published, _is_instead):
        for origin, record in places:
            same = [
                one
                for one in origin.systems(dataset)
                if is_wanted(one, row[0])
                and any(len(origin.values(dataset, one, table.metric, table.mode)) for table in row)
            ]
            if same:
                return origin, record, max(same, key=lambda one: (one.depth == depth, one.depth or 0))
    return None


def _is_published(system: System, table: published.Table) -> bool:
    return (system.model, system.loss) == (table.model, table.loss)


def _is_instead(system: System, table: published.Table) -> bool:
    return system.model == table.instead


def _beside(origin: Results | None, system: System | None, table: published.Table, record: Record | None) -> Beside:
    value = table.values[0]
    about = data_of(value.dataset, System(table.model, table.loss, value.depth), table.metric, table.mode)
    printed = Number(f"{value.printed:g}", {**about, "statistic": "published", "value": repr(value.printed)})
    spread = origin.spread(value.dataset, system, table.metric, table.mode) if origin and system else None
    if origin is None or system is None or spread is None:
        return Beside(printed, None, None)
    ours = score(origin, value.dataset, system, table.metric, 0, table.mode)
    reasons = published.obstacles(table, origin.scored(value.dataset, system)[0].score)
    others = {"another recipe": system.model != table.model, "another depth": system.depth != value.depth}
    reasons = tuple(dict.fromkeys((*reasons, *(reason for reason, holds in others.items() if holds))))
    verdict = published.verdict(spread.mean, spread.sd, value.corrected, reasons=reasons, better=table.better)
    return Beside(printed, as_recorded(ours, record) if record else ours, verdict)
