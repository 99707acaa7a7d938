"""Recorded runs by themselves: what made each, what it took, what came out, and the published values they answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from framecast import published
from framecast.figures.shared import components as changes
from framecast.report import components, curves
from framecast.report.numbers import Number, data_of, power_of, significant
from framecast.report.recorded import Recorded, anchor, as_recorded, recorded
from framecast.report.tables import SOURCES, AllMetrics, Glance, all_metrics, glance
from framecast.results import System
from framecast.results.claims import PUBLISHED
from framecast.results.records import Machine, Record
from framecast.upkeep.diff.words import scaled
from framecast.upkeep.status import span

MACHINES = 3  #: so many are named, the rest counted
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class RunPart:
    """A dataset of a recorded run: the compared metrics, what each component does, the error at each step."""

    dataset: str
    id: str  #: of its curves in the page
    metrics: tuple[AllMetrics, ...]  #: mode by mode
    impact: tuple[components.ImpactTable, ...]
    curves: curves.Curves | None


@dataclass(frozen=True)
class Run:
    """A recorded run as it is told."""

    name: str
    anchor: str
    title: str
    study: str
    scale: str
    reduced: bool
    commit: str
    date: str  #: of the commit
    hardware: str
    cells: str
    seeds: str
    core_time: str
    versions: str
    data: tuple[str, ...]  #: where the frames of its datasets come from
    glances: tuple[Glance, ...]
    parts: tuple[RunPart, ...]


@dataclass(frozen=True)
class Answer:
    """A published value and the recorded number of its system at published settings."""

    source: published.Source
    table: published.Table
    dataset: str
    system: System
    metric: str  #: with the power of ten that both numbers are read in
    value: Number  #: the corrected reading
    recorded: Recorded


def runs(records: Sequence[Record]) -> list[Run]:
    """Every record, in the order of their names."""
    return [_run(record) for record in records]


def answers(records: Sequence[Record]) -> list[Answer]:
    """Every published value whose system has a recorded number at published settings, by the same metric and mode."""
    return [
        _answer(source, table, value, found)
        for source, table, value in _published()
        if (found := recorded(records, table, value, power_of(value.corrected)))
    ]


def published_values() -> int:
    """How many values of the literature were measured, by systems that are ours and by others."""
    return sum(1 for _ in _published())


def _published() -> Iterator[tuple[published.Source, published.Table, published.Value]]:
    """Every value of the literature that was measured."""
    for source in published.load_all():
        for table in source.tables:
            for value in table.values if table.status == "measured" else ():
                yield source, table, value


def _answer(source: published.Source, table: published.Table, value: published.Value, found: Recorded) -> Answer:
    system, power = System(table.model, table.loss, value.depth), power_of(value.corrected)
    data = data_of(value.dataset, system, table.metric, table.mode)
    quoted = Number(
        significant(value.corrected, power), {**data, "statistic": "answered", "value": repr(value.corrected)}
    )
    return Answer(source, table, value.dataset, system, scaled(table.metric, power), quoted, found)


def _run(record: Record) -> Run:
    facts, baselines = record.facts, len(record.facts.cells) - record.trained
    scored = [dataset for dataset in facts.datasets if record.results.scored(dataset)]
    told = (glance(record.results, dataset) for dataset in scored)
    return Run(
        name=record.name,
        anchor=anchor(record.name),
        title=facts.title or facts.study.replace("_", " ").capitalize(),
        study=facts.study,
        scale=facts.scale,
        reduced=facts.scale != PUBLISHED,
        commit=facts.commit.hash,
        date=facts.commit.date[:10],
        hardware=hardware(facts.hardware),
        cells=f"{record.trained} trained, {baselines} baseline{'s' * (baselines != 1)}"
        + (f"; without {', '.join(facts.left_out)}" if facts.left_out else ""),
        seeds=", ".join(map(str, facts.seeds)),
        core_time=_core_time(record),
        versions=", ".join(f"{name} {version}" for name, version in facts.versions.items()),
        data=tuple(sorted({SOURCES[cell.score["source"]] for cell in record.results.cells})),
        glances=tuple(as_recorded(found, record) for found in told if found),
        parts=tuple(as_recorded(_part(record, dataset), record) for dataset in scored),
    )


def _part(record: Record, dataset: str) -> RunPart:
    results = record.results
    compared = changes.metrics(results, dataset)
    return RunPart(
        dataset=dataset,
        id=f"{record.name}-{dataset}",
        metrics=tuple(all_metrics(results, dataset, mode, compared) for mode in results.modes(dataset)),
        impact=tuple(components.impact(results, dataset)),
        curves=curves.part(results, dataset),
    )


def hardware(machines: Sequence[Machine]) -> str:
    """The machines that worked on a record, in words."""
    named = [
        f"{machine.processor}, {machine.cores} core{'s' * (machine.cores != 1)}, {machine.memory_mb / 1000:.0f} GB"
        + (f", {machine.gpu}" if machine.gpu else "")
        for machine in machines[:MACHINES]
    ]
    more = len(machines) - len(named)
    return "; ".join([*named, f"{more} more"] if more > 0 else named) or NOT_KNOWN


def _core_time(record: Record) -> str:
    """Of training and evaluation together; where attempts of some cells are lost, of how many it is."""
    known = [cell for cell in record.facts.cells.values() if cell.training is None or cell.training.attempts]
    whole = record.facts.training.core_seconds + record.facts.evaluation.core_seconds
    if not whole:
        return NOT_KNOWN
    return span(whole) + (
        "" if len(known) == len(record.facts.cells) else f" ({len(known)} of {len(record.facts.cells)} known)"
    )
