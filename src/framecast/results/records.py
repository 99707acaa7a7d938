"""Recorded runs: a study's small tables at one scale, and what made them, as git keeps them.

    reports/records/<study>-<scale>/   scores.csv, comparisons.csv, horizon.csv, claims.csv, record.json

``claims.csv`` holds the intervals of what the claims of the sources compare (``results.claims``), which take the score
of every test sequence to have; a record of before there were claims is without it.

``framecast record`` writes them. Read back, a record is ``Results`` like those of the page that is being written, so
whatever tells of the one tells of the other.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from framecast import artifacts, plain_yaml, published
from framecast.errors import UserError
from framecast.results import COMPARISONS, FACTS, HORIZON, IDENTITY, SCORES, CellFiles, Results, System, read_table
from framecast.study import catalogue
from framecast.study.grid import RECORD_CLAIMS, RECORD_TABLES, RECORDS, Cell
from framecast.study.mistakes import Section, Wrong, validated

COLUMNS = dict(zip(RECORD_TABLES, (SCORES, COMPARISONS, HORIZON), strict=True))
#: A comparison of a claim as it was measured; ``step`` is empty where it is not the weakest of ``count`` steps.
MEASURED = ("kind", "dataset", "mode", "metric", "a", "b", "claimed", "step", "count", "estimate", "low", "high")


class Commit(Section):
    """The commit that last changed code or ``params.yaml``; its date as ISO 8601 in UTC."""

    hash: str
    date: str


class Machine(Section):
    """A machine that worked on a study; ``gpu`` is empty where it had none."""

    processor: str
    cores: int
    memory_mb: int
    platform: str
    gpu: str


class Spent(Section):
    """Seconds on the wall, and of all cores together, over the attempts that are known of."""

    attempts: int
    seconds: float
    core_seconds: float


class CellRecord(Section):
    """Under which keys a cell lay, and what it took; ``run_key`` and ``training`` are None for a baseline."""

    run_key: str | None
    score_key: str
    training: Spent | None
    evaluation: Spent


class DatasetRecord(Section):
    """What made a dataset's numbers comparable: its resolved arguments, modes with their lengths, leading metric."""

    parameters: dict[str, Any]
    modes: dict[str, dict[str, int]] = Field(min_length=1)
    mode: str
    primary_metric: str
    frames: str
    origin: str


class ModelRecord(Section):
    """The resolved arguments of a model, its kind among them and its depth not, and its recipe where it has one.

    ``training_on`` has the whole recipe for each dataset on which it is another.
    """

    arguments: dict[str, Any]
    replication: bool
    training: dict[str, Any] = Field(default_factory=dict)
    training_on: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Facts(Section):
    """``record.json``."""

    study: str
    title: str
    scale: str
    commit: Commit
    params: str  #: params.yaml as it was
    seeds: tuple[int, ...]
    versions: dict[str, str]
    hardware: tuple[Machine, ...]
    training: Spent
    evaluation: Spent
    count: int  #: trained cells and baselines together
    left_out: tuple[str, ...] = ()  #: datasets of the study that the record is without
    cells: dict[str, CellRecord]
    datasets: dict[str, DatasetRecord]
    models: dict[str, ModelRecord]
    sha256: dict[str, str]


@dataclass(frozen=True)
class RecordedCell(CellFiles):
    """A cell of a record, which has no folders: its score's manifest is put together from the record."""

    facts: dict[str, Any]
    terms: dict[str, Any]  #: of the loss, as params.yaml had them; empty for a baseline

    @cached_property
    def run(self) -> dict[str, Any]:
        """What the manifest of the training said of loss and recipe."""
        return {"parameters": {"loss": self.terms, "training": self.facts["parameters"]["training"]}}

    @cached_property
    def score(self) -> dict[str, Any]:
        """What the manifest of the evaluation said of whatever makes a number comparable."""
        return self.facts

    @cached_property
    def sequences(self) -> dict[str, np.ndarray]:
        """Nothing: git keeps no value of every test sequence."""
        return {}


@dataclass(frozen=True)
class Record:
    """A recorded run: its facts, and its tables as results."""

    folder: Path
    facts: Facts
    results: Results
    measured: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(MEASURED)))

    @property
    def name(self) -> str:
        """The folder's name: study and scale."""
        return self.folder.name

    @property
    def trained(self) -> int:
        """How many of its cells were trained; the others are baselines."""
        return sum(cell.run_key is not None for cell in self.facts.cells.values())


def load_all(root: Path = RECORDS) -> tuple[Record, ...]:
    """Every record, by name. Raises UserError naming the file for one that is damaged."""
    return tuple(load(folder) for folder in sorted(root.glob("*")) if folder.is_dir())


def load(folder: Path) -> Record:
    """Read one record.

    Raises UserError when a file of it is missing, is not the one that was recorded, or lacks a key or a column.
    """
    cure = f"`git checkout -- {folder}` brings back what was recorded, or record the study again"
    path = folder / "record.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file, so {folder} is not a record; {cure}, or delete the folder")
    try:
        facts = validated(Facts, artifacts.read_json(path, cure), ())
    except Wrong as wrong:
        raise UserError(f"{wrong.line(str(path))}; {cure}") from None
    has_claims = RECORD_CLAIMS in facts.sha256
    for name in (*RECORD_TABLES, *([RECORD_CLAIMS] if has_claims else ())):
        found = artifacts.sha256_of_text(folder / name) if (folder / name).is_file() else "no file"
        if (expected := facts.sha256.get(name)) != found:
            raise UserError(f"{folder / name}: found sha256 {found}, expected {expected}; {cure}")
    scores, comparisons, horizon = (read_table(folder / name, COLUMNS[name], cure) for name in RECORD_TABLES)
    _refuse_strangers(path, facts, scores)
    cells = tuple(_cells(folder, facts, scores))
    results = Results(scores, horizon, comparisons, cells, published.load_all())
    if not has_claims:
        return Record(folder, facts, results)
    return Record(folder, facts, results, read_table(folder / RECORD_CLAIMS, MEASURED, cure))


def newest(
    records: Iterable[Record], scale: str, dataset: str, system: System, metric: str, mode: str
) -> Record | None:
    """The latest record of a scale that has a system's score by a metric in a mode."""
    found = [
        record
        for record in records
        if record.facts.scale == scale and len(record.results.values(dataset, system, metric, mode))
    ]
    return max(found, key=lambda record: (record.facts.commit.date, record.name), default=None)


def _refuse_strangers(path: Path, facts: Facts, scores: pd.DataFrame) -> None:
    """What the tables name, the record describes, and today's code knows."""
    for column, known in (("dataset", facts.datasets), ("model", facts.models)):
        if strangers := sorted(set(scores[column]) - set(known)):
            raise UserError(
                f"{path}: {column}s: found nothing about {strangers[0]}, which scores.csv holds; record again"
            )
    for name, dataset in facts.datasets.items():
        if dataset.primary_metric not in catalogue.metrics():
            raise UserError(
                f"{path}: datasets.{name}.primary_metric: found {dataset.primary_metric}, which no file of "
                f"src/framecast/metrics defines; record the study again, or delete {path.parent}"
            )


def _cells(folder: Path, facts: Facts, scores: pd.DataFrame) -> Iterator[RecordedCell]:
    columns = [*IDENTITY, "seed", *FACTS]
    losses = _losses(folder / "record.json", facts, scores)
    for row in scores[columns].drop_duplicates().astype(object).to_dict("records"):
        made: dict[str, Any] = {str(name): None if pd.isna(value) else value for name, value in row.items()}
        dataset, model = facts.datasets[made["dataset"]], facts.models[made["model"]]
        arguments = {**model.arguments, "depth": made["depth"]}
        training = model.training_on.get(made["dataset"], model.training)
        parameters = {"dataset": dataset.parameters, "model": arguments, "training": training}
        told = dataset.model_dump(include={"modes", "mode", "primary_metric", "frames", "origin"})
        score = {**made, **told, "replication": model.replication, "parameters": parameters}
        identity = {name: made[name] for name in (*IDENTITY, "seed")}
        terms = losses.get(made["loss"], {})
        yield RecordedCell(
            Cell(**identity).name, **identity, run_folder=None, score_folder=folder, facts=score, terms=terms
        )


def _losses(path: Path, facts: Facts, scores: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The terms of every loss that the tables name, as ``params.yaml`` had them."""
    tree = plain_yaml.parsed(facts.params.encode(), f"{path}: params")
    known = tree.get("losses", {}) if isinstance(tree, dict) else {}
    if strangers := sorted(set(scores["loss"].dropna()) - set(known)):
        raise UserError(
            f"{path}: params: losses: found nothing about {strangers[0]}, which scores.csv holds; record again"
        )
    return {name: dict(terms) for name, terms in known.items()}
