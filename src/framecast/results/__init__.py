"""Finished cells and tables, read: what figures, report and records know of the study.

Nothing here draws, and nothing loads a network.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from framecast import artifacts, published
from framecast.errors import UserError
from framecast.study import catalogue

IDENTITY = ("dataset", "model", "depth", "loss")
FACTS = ("split", "sequences", "causal", "source", "scale", "key")
SCORES = (*IDENTITY, "seed", "mode", "metric", "value", *FACTS)
HORIZON = (*IDENTITY, "mode", "metric", "step", "mean", "sd", "seeds")
COMPARISONS = ("dataset", "mode", "metric", "a", "b", "difference", "low", "high", "sequences", "verdict")
TEACHER_FORCED = "teacher-forced"  #: the mode in which every input is a true frame


@dataclass(frozen=True, order=True)
class System:
    """What is compared: a model at a depth, trained with a loss; a baseline has neither depth nor loss."""

    model: str
    loss: str | None = None
    depth: int | None = None

    def __str__(self) -> str:
        return f"{self.model} depth-{self.depth} {self.loss}" if self.loss else self.model


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds; ``sd`` is None with a single seed."""

    mean: float
    sd: float | None
    seeds: int

    @classmethod
    def of(cls, values: np.ndarray) -> "Spread | None":
        """The spread of one value per seed, (seeds,), or None where there is none."""
        if not len(values):
            return None
        return cls(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class CellFiles:
    """A cell (or a baseline on a dataset) and the folders of its artefacts; a folder is None until it exists."""

    name: str
    dataset: str
    model: str
    depth: int | None
    loss: str | None
    seed: int | None
    run_folder: Path | None
    score_folder: Path | None

    @property
    def system(self) -> System:
        """The cell without its dataset and seed."""
        return System(self.model, self.loss, self.depth)

    @cached_property
    def run(self) -> dict[str, Any]:
        """The manifest of the training run."""
        return artifacts.read_json(_file(self, self.run_folder, "run.json"))

    @cached_property
    def score(self) -> dict[str, Any]:
        """The manifest of the evaluation."""
        return artifacts.read_json(_file(self, self.score_folder, "score.json"))

    @cached_property
    def history(self) -> pd.DataFrame:
        """step, epoch, split, learning_rate, loss, one column per loss term, and ``share_<term>`` if several."""
        return pd.read_csv(_file(self, self.run_folder, "history.csv"))

    @cached_property
    def steps(self) -> pd.Series:
        """The score at each forecast step of this cell alone, by (mode, metric, step)."""
        table = pd.read_csv(_file(self, self.score_folder, "scores.csv"), dtype={"step": str})
        table = table[table["step"] != "all"].astype({"step": int})
        return table.set_index(["mode", "metric", "step"])["value"].sort_index()

    @cached_property
    def clips(self) -> dict[str, np.ndarray]:
        """``context``, ``target`` and ``forecast`` of the first test sequences: (n, T, *frame) float32 in [0, 1].

        They are of the primary mode; ``<mode>/forecast`` is that of another one. See ``forecast_in``.
        """
        first = sum("first" in why for why in self.kept.values())
        return {name: clip[:first] for name, clip in self.kept_clips.items()}

    @cached_property
    def kept(self) -> dict[int, tuple[str, ...]]:
        """Every test sequence that is kept to look at, counted from 1, and why: as ``evaluation.kept`` words it."""
        return {one["sequence"]: tuple(one["why"]) for one in self.score["kept"]}

    @cached_property
    def kept_clips(self) -> dict[str, np.ndarray]:
        """What ``clips`` is of the first, of all that are kept, in the order of ``kept``."""
        stored = load_file(_file(self, self.score_folder, "clips.safetensors"))
        return {name: _unit_range(clip) for name, clip in stored.items() if not name.startswith("inside/")}

    @cached_property
    def snapshots(self) -> dict[str, np.ndarray]:
        """``context`` and ``target`` of the first validation sequences, and ``forecast/<step>`` of them in training."""
        stored = load_file(_file(self, self.run_folder, "snapshots.safetensors"))
        return {name: _unit_range(frames) for name, frames in stored.items()}

    @cached_property
    def sequences(self) -> dict[str, np.ndarray]:
        """``<mode>/<metric>`` of what is compared → the score of each test sequence and step, (N, K) float32.

        With ``groups`` (N,) where test sequences share a person, a subject or a trajectory.
        """
        return load_file(_file(self, self.score_folder, "sequences.safetensors"))

    def forecast_in(self, mode: str) -> tuple[np.ndarray, np.ndarray]:
        """Forecast and target of the first test sequences in a mode, both (n, K, *frame)."""
        forecast = self.clips["forecast" if mode == self.score["mode"] else f"{mode}/forecast"]
        whole = np.concatenate([self.clips["context"], self.clips["target"]], axis=1)
        return forecast, whole[:, -forecast.shape[1] :]

    @cached_property
    def inside(self) -> dict[str, np.ndarray]:
        """What ``evaluation.inside`` stored of the recurrent layers, as it lies there."""
        stored = load_file(_file(self, self.score_folder, "clips.safetensors"))
        return {name: values for name, values in stored.items() if name.startswith("inside/")}


@dataclass(frozen=True)
class Results:
    """Everything that figures and report read."""

    scores: pd.DataFrame
    horizon: pd.DataFrame
    comparisons: pd.DataFrame
    cells: tuple[CellFiles, ...]
    sources: tuple[published.Source, ...]

    @classmethod
    def load(cls, scores: Path, horizon: Path, comparisons: Path, cells: Iterable[CellFiles]) -> "Results":
        """Read the three tables of ``reports/``.

        Raises UserError naming the file when one is missing or lacks a column.
        """
        return cls(
            scores=read_table(scores, SCORES),
            horizon=read_table(horizon, HORIZON),
            comparisons=read_table(comparisons, COMPARISONS),
            cells=tuple(cells),
            sources=published.load_all(),
        )

    @property
    def scale(self) -> str:
        """Under which scale the cells were made; empty without a scored one."""
        return next((cell.score["scale"] for cell in self.cells if cell.score_folder is not None), "")

    def scored(self, dataset: str, system: System | None = None) -> list[CellFiles]:
        """The evaluated cells of a dataset (of one system), in order of seed."""
        return list(self._scored.get((dataset, system), []))

    @cached_property
    def _scored(self) -> dict[tuple[str, System | None], list[CellFiles]]:
        """Evaluated cells by dataset and system, and by dataset alone: a page asks for them thousands of times."""
        found: dict[tuple[str, System | None], list[CellFiles]] = {}
        for cell in sorted(self.cells, key=lambda cell: cell.seed or 0):
            if cell.score_folder is not None:
                for system in (None, cell.system):
                    found.setdefault((cell.dataset, system), []).append(cell)
        return found

    def systems(self, dataset: str) -> list[System]:
        """Trained systems with a score, sorted by model, loss and depth."""
        return sorted({cell.system for cell in self.scored(dataset) if cell.loss}, key=_system_order)

    def baselines(self, dataset: str) -> list[System]:
        """Baselines with a score, by name."""
        return sorted({cell.system for cell in self.scored(dataset) if not cell.loss}, key=_system_order)

    def primary_metric(self, dataset: str) -> str:
        """The metric that tables and figures lead with, as the evaluation recorded it."""
        return self.scored(dataset)[0].score["primary_metric"]

    def primary_mode(self, dataset: str) -> str:
        """The mode that tables and figures lead with, as the evaluation recorded it."""
        return self.scored(dataset)[0].score["mode"]

    def modes(self, dataset: str) -> tuple[str, ...]:
        """Every mode in which a dataset's test sequences are scored, the primary one first."""
        return tuple(dict.fromkeys((self.primary_mode(dataset), *sorted(self.scored(dataset)[0].score["modes"]))))

    def lengths(self, dataset: str, mode: str | None = None) -> tuple[int, int]:
        """How many frames a mode observes and forecasts; without a mode, the primary one."""
        lengths = self.scored(dataset)[0].score["modes"][mode or self.primary_mode(dataset)]
        return lengths["context"], lengths["horizon"]

    def trained_steps(self, dataset: str, system: System, mode: str | None = None) -> int | None:
        """How many forecast steps of a mode a system was trained on, where there are more; None where it was on all."""
        score = next((cell.score for cell in self.scored(dataset, system)), None)
        return None if score is None else trained_steps(score, mode or self.primary_mode(dataset))

    def is_leaky(self, dataset: str, system: System) -> bool:
        """Whether the causality probe caught a system looking at a frame that it had to forecast."""
        return any(cell.score["causal"] != "causal" for cell in self.scored(dataset, system))

    def is_replication(self, dataset: str, system: System) -> bool:
        """Whether a system is there to reproduce what somebody published, its flaw included."""
        return any(cell.score.get("replication", False) for cell in self.scored(dataset, system))

    def arguments(self, dataset: str, system: System) -> dict[str, Any]:
        """The resolved arguments of a system's model, its kind and depth among them."""
        return self.scored(dataset, system)[0].score["parameters"]["model"]

    def terms(self, dataset: str, system: System) -> dict[str, Any]:
        """The loss of a trained system: term → its weight, or its weight and arguments."""
        return self.scored(dataset, system)[0].run["parameters"]["loss"]

    def spread(self, dataset: str, system: System, metric: str, mode: str | None = None) -> Spread | None:
        """Mean and sd over seeds of the overall score in a mode, or None where the system has none."""
        return Spread.of(self.values(dataset, system, metric, mode))

    def values(self, dataset: str, system: System, metric: str, mode: str | None = None) -> np.ndarray:
        """The overall score of each seed, (seeds,) float64, in a mode (without one, the dataset's primary mode)."""
        rows = self._rows("scores", dataset, system, metric, mode)
        return rows.sort_values("seed")["value"].to_numpy(dtype=np.float64)

    def curve(self, dataset: str, system: System, metric: str, mode: str | None = None) -> pd.DataFrame:
        """The score at each forecast step of a mode: step, mean, sd (NaN with one seed)."""
        rows = self._rows("horizon", dataset, system, metric, mode)
        return rows[["step", "mean", "sd"]].sort_values("step")

    def by_seed(
        self, dataset: str, system: System, metric: str, mode: str | None = None, steps: Iterable[int] | None = None
    ) -> dict[int | None, float]:
        """The mean over some steps of a mode (without any, over all) for each seed, from each cell's own scores."""
        key = mode or self.primary_mode(dataset), metric
        cells = [cell for cell in self.scored(dataset, system) if key in cell.steps.index.droplevel("step")]
        wanted = slice(None) if steps is None else list(steps)
        return {cell.seed: float(cell.steps.loc[key].loc[wanted].mean()) for cell in cells}

    def window(
        self, dataset: str, system: System, metric: str, mode: str | None = None, steps: Iterable[int] | None = None
    ) -> Spread | None:
        """Mean and sd over seeds of the mean over some forecast steps, counted from 1."""
        return Spread.of(np.array(list(self.by_seed(dataset, system, metric, mode, steps).values())))

    def compared(self, dataset: str, metric: str, mode: str | None = None) -> pd.DataFrame:
        """The paired comparisons of a dataset by one metric in one mode, in the order of the table.

        Two of which one has no number by this metric, since it is not defined for its forecasts, are not compared.
        """
        return self.comparisons.iloc[self._compared.get((dataset, metric, mode or self.primary_mode(dataset)), [])]

    @cached_property
    def _compared(self) -> dict[tuple[str, str, str], list[int]]:
        """Where the rows of a dataset, metric and mode lie in the comparisons."""
        found: dict[tuple[str, str, str], list[int]] = {}
        columns = [self.comparisons[column].tolist() for column in ("dataset", "metric", "mode")]
        is_defined = self.comparisons["difference"].notna().tolist()
        for at, key in enumerate(zip(*columns, strict=True)):
            if is_defined[at]:
                found.setdefault(key, []).append(at)
        return found

    def best_reachable(self, dataset: str, metric: str) -> published.BestReachable | None:
        """What is known about the best score that any forecaster can have."""
        known = (entry for source in self.sources for entry in source.best_reachable)
        return next((entry for entry in known if (entry.dataset, entry.metric) == (dataset, metric)), None)

    def literature(
        self, dataset: str, system: System, metric: str, mode: str | None = None
    ) -> tuple[published.Table, published.Value] | None:
        """The published score of a system, only ever under the same metric id and in the same mode."""
        wanted = (system.model, system.loss, metric, mode or self.primary_mode(dataset))
        for table in (table for source in self.sources for table in source.tables):
            value = table.value(dataset, system.depth)
            if value is not None and (table.model, table.loss, table.metric, table.mode) == wanted:
                return table, value
        return None

    def _rows(self, name: str, dataset: str, system: System, metric: str, mode: str | None) -> pd.DataFrame:
        """Rows of one system under one metric in one mode; baselines have empty depth and loss."""
        key = (dataset, system.model, system.loss, system.depth, metric, mode or self.primary_mode(dataset))
        table: pd.DataFrame = getattr(self, name)
        return table.iloc[self._positions[name].get(key, [])]

    @cached_property
    def _positions(self) -> dict[str, dict[tuple[Any, ...], list[int]]]:
        """Where the rows of each system, metric and mode lie in both tables: looked for once, not at every number."""
        found: dict[str, dict[tuple[Any, ...], list[int]]] = {}
        for name, table in (("scores", self.scores), ("horizon", self.horizon)):
            columns = [table[column].tolist() for column in ("dataset", "model", "loss", "depth", "metric", "mode")]
            rows = found.setdefault(name, {})
            for at, key in enumerate(zip(*columns, strict=True)):
                known = tuple(None if pd.isna(part) else part for part in key)
                rows.setdefault(known, []).append(at)
        return found


def trained_steps(score: Mapping[str, Any], mode: str) -> int | None:
    """How many forecast steps of a mode the cell of a ``score.json`` was trained on, or None where it was on all."""
    trained, lengths = score["parameters"].get("training", {}).get("horizon"), score["modes"][mode]
    if trained is None:
        return None
    steps: int = max(0, score["parameters"]["dataset"]["arguments"]["context"] + trained - lengths["context"])
    return steps if steps < lengths["horizon"] else None


def _unit_range(frames: np.ndarray) -> np.ndarray:
    """Frames as they are stored → float32 in [0, 1]."""
    return frames / np.float32(255) if frames.dtype == np.uint8 else frames


def _system_order(system: System) -> tuple[str, str, int]:
    return system.model, system.loss or "", system.depth or 0


def _file(cell: CellFiles, folder: Path | None, name: str) -> Path:
    if folder is None:
        raise UserError(f"{cell.name}: no {name} yet; run this cell first")
    if not (folder / name).exists():
        raise UserError(f"{cell.name}: {folder / name} is missing; delete the folder and run the cell again")
    return folder / name


def read_table(path: Path, columns: Sequence[str], cure: str = "evaluate again") -> pd.DataFrame:
    """A table of ours with its types; UserError when it is not there or lacks a column, with ``cure`` to mend that."""
    if not path.exists():
        raise UserError(f"{path}: no such file; evaluate the study first")
    if not path.stat().st_size:  # a study without a single comparison
        return pd.DataFrame(columns=list(columns))
    # A key is eight hex digits: without a type, "12345678" would become a number and "1e234567" infinity.
    texts = ("key", "dataset", "model", "loss", "mode", "metric", "kind", "a", "b", "claimed")
    kinds = {**dict.fromkeys(texts, str), "depth": "Int64", "seed": "Int64"}
    table = pd.read_csv(path, dtype={name: kind for name, kind in kinds.items() if name in columns})
    if absent := [name for name in columns if name not in table.columns]:
        raise UserError(f"{path}: column {', '.join(absent)} is missing, found {', '.join(table.columns)}; {cure}")
    return table


def short(systems: Sequence[System], system: System) -> str:
    """The shortest name that tells a system from the others of its figure: what all share goes unsaid.

    One that is alone goes by its model.

    >>> pair = [System("next_frame", "bce", 3), System("next_frame", "gdl", 3)]
    >>> [short(pair, system) for system in pair], short(pair[:1], pair[0])
    (['bce', 'gdl'], 'next_frame')
    """
    if system.loss is None:
        return system.model
    depth = f"depth {system.depth}"
    axes = ((system.model, "model"), (depth, "depth"), (system.loss, "loss"))
    told = [text for text, axis in axes if len({getattr(other, axis) for other in systems}) > 1]
    return " ".join(told or [system.model])


def label(results: Results, dataset: str, systems: Sequence[System], system: System) -> str:
    """The short name of a system, which never goes without its flaw."""
    return short(systems, system) + (" (leaky)" if results.is_leaky(dataset, system) else "")


def goodness(metric: str, value: float) -> float:
    """A number that is the higher the better the value of a metric is."""
    better = catalogue.metric_fact(metric, "better")
    return {"lower": -value, "higher": value, "one": -abs(value - 1)}[better]
