"""Where each score comes from: its cells and keys, how to make it again, and what is known of its making.

A page says nothing that differs between two makings of the same numbers, so it tells of commit, machine and seconds
only where a record holds them: of a cell that lies under the same keys.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framecast.report import numbers, runs, tables
from framecast.results import CellFiles, Results, System
from framecast.results.records import CellRecord, Record


@dataclass(frozen=True)
class Made:
    """What a record holds of the making of a cell."""

    record: str
    commit: str
    hardware: str
    seconds: str  #: of training, where it was trained, and evaluation


@dataclass(frozen=True)
class Source:
    """A cell behind a score; ``made`` is None where no record holds it under these keys."""

    files: CellFiles
    commands: tuple[str, ...]
    made: Made | None


@dataclass(frozen=True)
class Provenance:
    """Where a system's numbers come from: shared facts, and a line per seed."""

    anchor: str
    label: str
    dataset: str
    marks: tuple[str, ...]
    facts: dict[str, str]
    parameters: str
    sources: list[Source]


def provenance(results: Results, datasets: Sequence[str], records: Sequence[Record] = ()) -> Iterator[Provenance]:
    """Every system and baseline of these datasets, in the order of the tables."""
    for dataset in datasets:
        for system in [*results.systems(dataset), *results.baselines(dataset)]:
            yield _provenance(results, dataset, system, records)


def _provenance(results: Results, dataset: str, system: System, records: Sequence[Record]) -> Provenance:
    cells = results.scored(dataset, system)
    score, run = cells[0].score, cells[0].run if cells[0].run_folder else {}
    facts = {name: str(score[name]) for name in ("split", "sequences", "source", "origin", "causal", "scale")}
    facts["mode"] = ", ".join(results.modes(dataset))
    if score.get("first_leak"):
        facts["first leak"] = "forecast step {} sees future frame {}".format(*score["first_leak"])
    if results.is_replication(dataset, system):
        facts["replication"] = "of a published system, its flaw included"
    if run:
        facts["parameters"] = f"{run['parameter_count']:,}".replace(",", " ")
        facts["trained on"] = run["device"]
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in sorted(run["versions"].items()))
        facts["fingerprints"] = ", ".join(f"{name} {value}" for name, value in sorted(run["fingerprints"].items()))
    return Provenance(
        numbers.anchor(dataset, system),
        str(system),
        dataset,
        tables.marks(results, dataset, system),
        facts,
        _pretty(run.get("parameters", {})),
        [Source(cell, commands(cell), _made(cell, records)) for cell in cells],
    )


def commands(cell: CellFiles) -> tuple[str, ...]:
    """What makes a cell again, from the root of the repository."""
    evaluate = f"framecast evaluate {cell.name}"
    return (f"framecast train {cell.name}", evaluate) if cell.loss else (evaluate,)


def _made(cell: CellFiles, records: Sequence[Record]) -> Made | None:
    keys = cell.score["run_key"], cell.score["key"]
    for record in records:
        known = record.facts.cells.get(cell.name)
        if known and (known.run_key, known.score_key) == keys:
            return Made(
                record.name, record.facts.commit.hash, runs.hardware(record.facts.hardware), " + ".join(_spent(known))
            )
    return None


def _spent(cell: CellRecord) -> Iterator[str]:
    for phase, spent in (("training", cell.training), ("evaluation", cell.evaluation)):
        if spent and spent.attempts:
            yield f"{spent.seconds:.0f} s {phase}"


def _pretty(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, indent=2, sort_keys=True, ensure_ascii=False) if parameters else ""
