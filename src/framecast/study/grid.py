"""The cells of the study, the key of everything that is made, and where it lies.

A cell is ``{dataset}/{model}/depth-{depth}/{loss}/seed-{seed}``; a baseline is ``{dataset}/{model}``. Every artefact
lies in a folder named by the *key* of what made it, so staleness is existence: no clock and no engine's memory enters.

    data/processed/<dataset>/<key>/   arrays.safetensors, manifest.json
    data/runs/<dataset>/<model>/depth-<depth>/causality/<key>/   probe.json
    data/runs/<cell>/<key>/           model.safetensors, history.csv, snapshots.safetensors, run.json
    data/scores/<cell>/<key>/         scores.csv, sequences.safetensors, clips.safetensors, score.json

A key hashes only what can change the numbers: resolved parameters, the parsed source behind them (``catalogue``)
and the keys upstream. The command line, both engines and the report all ask this module; no path is built elsewhere.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from framecast.artifacts import canonical, sha256, sha256_of, sha256_of_text
from framecast.errors import UserError
from framecast.study import catalogue
from framecast.study.mistakes import as_tree
from framecast.study.params import Params

AFFECTS_NUMBERS = False  # what it decides is in the keys
RAW = Path("data/raw")
PROCESSED = Path("data/processed")
RUNS = Path("data/runs")
SCORES = Path("data/scores")
CHECKPOINTS = Path("data/checkpoints")
REPORTS = Path("reports")
FIGURES = REPORTS / "figures"
RECORDS = REPORTS / "records"

CELL = "{dataset}/{model}/depth-{depth}/{loss}/seed-{seed}"
BASELINE = "{dataset}/{model}"
PROBE = "{dataset}/{model}/depth-{depth}/causality"

DATA_FILES = ("arrays.safetensors", "manifest.json")
PROBE_FILES = ("probe.json",)
RUN_FILES = ("model.safetensors", "history.csv", "snapshots.safetensors", "run.json")
SCORE_FILES = ("scores.csv", "sequences.safetensors", "clips.safetensors", "score.json")
TABLES = ("scores.csv", "horizon.csv", "comparisons.csv", "metrics.json", "loss_curves.csv")
RECORD_TABLES = ("scores.csv", "comparisons.csv", "horizon.csv")
RECORD_CLAIMS = "claims.csv"
RECORD_FILES = (*RECORD_TABLES, RECORD_CLAIMS, "record.json")


@dataclass(frozen=True, order=True)
class Cell:
    """One point of the grid; a baseline has neither depth, loss nor seed."""

    dataset: str
    model: str
    depth: int | None = None
    loss: str | None = None
    seed: int | None = None

    @property
    def is_baseline(self) -> bool:
        """Whether the model is untrained."""
        return self.depth is None

    @cached_property
    def name(self) -> str:
        """What people type, and the folder: ``moving_mnist/seq2seq_convlstm/depth-2/mse/seed-1``."""
        return (BASELINE if self.is_baseline else CELL).format_map(vars(self))


class Grid:
    """Cells, keys and paths of a study."""

    def __init__(self, params: Params) -> None:
        self.params = params

    # --- what there is ----------------------------------------------------------------------------

    @cached_property
    def datasets(self) -> tuple[str, ...]:
        """Datasets that some study uses, in the order of ``params.yaml``."""
        used = {dataset for study in self.params.studies.values() for dataset in study.every("datasets")}
        return tuple(name for name in self.params.datasets if name in used)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The union of the studies' products, each cell once."""
        return tuple(dict.fromkeys(cell for study in self.params.studies for cell in self.study_cells(study)))

    def study_cells(self, study: str) -> Iterator[Cell]:
        """The products of one study."""
        for product in self.params.studies[study].products:
            for dataset in product.datasets:
                for model in product.models:
                    for depth in product.depths:
                        for loss in product.losses:
                            for seed in self.params.seeds:
                                yield Cell(dataset, model, depth, loss, seed)

    @cached_property
    def baselines(self) -> tuple[Cell, ...]:
        """Every baseline on every dataset whose frames it takes."""
        return tuple(
            Cell(dataset, model)
            for dataset in self.datasets
            for model in self.params.baselines
            if catalogue.frames("models", model) in ("any", self.params.frames(dataset))
        )

    def study_scored(self, study: str) -> tuple[Cell, ...]:
        """One study's cells, each once, then the baselines on its datasets."""
        cells = dict.fromkeys(self.study_cells(study))
        datasets = {cell.dataset for cell in cells}
        return (*cells, *(cell for cell in self.baselines if cell.dataset in datasets))

    @cached_property
    def scored(self) -> tuple[Cell, ...]:
        """Everything that gets a row in the tables."""
        return self.cells + self.baselines

    def find(self, name: str) -> Cell:
        """The cell that a person named; raises UserError with the nearest name."""
        found = self._by_name.get(name.strip("/"))
        if found is None:
            close = difflib.get_close_matches(name, self._by_name, n=1, cutoff=0.9)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UserError(
                f"cell {name}: not in the grid of params.yaml{hint}; `framecast grid` lists the {self.count} cells"
            )
        return found

    @cached_property
    def _by_name(self) -> dict[str, Cell]:
        return {cell.name: cell for cell in self.scored}

    @property
    def count(self) -> int:
        """Trained cells and baselines together."""
        return len(self.scored)

    @cached_property
    def probes(self) -> tuple[Cell, ...]:
        """One cell of every dataset, model and depth: these are probed for causality, whatever loss and seed."""
        return tuple({(cell.dataset, cell.model, cell.depth): cell for cell in reversed(self.cells)}.values())[::-1]

    def figures(self) -> Iterator[tuple[str, str]]:
        """(figure, dataset) for every figure that ``params.yaml`` asks for."""
        for dataset in self.datasets:
            for figure in self.params.figures:
                if self.params.is_drawn(figure, dataset):
                    yield figure, dataset

    # --- keys -------------------------------------------------------------------------------------

    def data_key(self, dataset: str) -> str:
        """Parameters and code of a dataset, and its raw files where their content is the user's."""
        return self._remember(("data", dataset), lambda: _key("data", *self._data_facts(dataset)))

    def probe_key(self, cell: Cell) -> str:
        """Everything that can change the verdict on a cell's dataset, model and depth, and what follows from it."""

        def compute() -> str:
            kinds = f"models.{self.kind(cell)}", f"data.{self.params.datasets[cell.dataset].kind}"
            code = catalogue.fingerprint("evaluation.probe", *kinds)
            return _key("probe", self.probe_parameters(cell), code)

        return self._remember(("probe", cell.dataset, cell.model, str(cell.depth)), compute)

    def run_key(self, cell: Cell) -> str:
        """Everything that can change the weights of a cell."""
        return self._remember(("run", cell), lambda: _key("run", self._recipe_key(cell), cell.depth, cell.seed))

    def score_key(self, cell: Cell) -> str:
        """Everything that can change a cell's scores."""

        def compute() -> str:
            made_by = self.data_key(cell.dataset) if cell.is_baseline else self.run_key(cell)
            return _key("score", made_by, self._measures_key(cell.dataset, cell.model))

        return self._remember(("score", cell), compute)

    @cached_property
    def tables_key(self) -> str:
        """All scores together, and the code that tabulates them."""
        keys = [[cell.name, self.score_key(cell)] for cell in self.scored]
        code = catalogue.fingerprint("evaluation.tables")
        return _key("tables", keys, code, self.params.scale, self.params.evaluation.resamples)

    @cached_property
    def report_key(self) -> str:
        """The tables, the studies as they are told, the recorded runs, and everything that draws and tells them."""
        drawn = [f"figures.{name}" for name in sorted(self.params.figures)]
        told = {name: as_tree(study) for name, study in self.params.studies.items()}
        texts = [[*path.parts[-2:], sha256_of_text(path)] for path in sorted(_texts())]
        code = catalogue.fingerprint("report.render", "figures.base", *drawn)
        return _key("report", self.tables_key, told, self.params.figures, code, texts)

    def parameters(self, cell: Cell) -> dict[str, Any]:
        """What was resolved for a cell: dataset, model, loss and training, every default written out.

        With it the weights that its loss reads from raw files, where it reads any.
        """
        weights = self._weights(cell)
        return {
            "dataset": as_tree(self.params.datasets[cell.dataset]),
            "model": {"kind": self.kind(cell), "depth": cell.depth, **self.model_arguments(cell)},
            "loss": {} if cell.loss is None else self.params.losses[cell.loss],
            "training": {} if cell.is_baseline else as_tree(self.params.recipe(cell.model, cell.dataset)),
            **({"weights": weights} if weights else {}),
        }

    def score_parameters(self, cell: Cell) -> dict[str, Any]:
        """What of that a reader of the cell's scores has to know; its loss is in its name."""
        parameters = self.parameters(cell)
        return {name: parameters[name] for name in ("dataset", "model", "training")}

    def probe_parameters(self, cell: Cell) -> dict[str, Any]:
        """What was resolved for the probe of a cell's dataset, model and depth."""
        model = {"kind": self.kind(cell), "depth": cell.depth, **self.model_arguments(cell)}
        replication = self.params.models[cell.model].replication
        return {"dataset": as_tree(self.params.datasets[cell.dataset]), "model": model, "replication": replication}

    def kind(self, cell: Cell) -> str:
        """The module of a cell's model; a baseline's name is its module."""
        return cell.model if cell.is_baseline else self.params.models[cell.model].kind

    def model_arguments(self, cell: Cell) -> dict[str, Any]:
        """The keyword arguments of a cell's model, without its depth."""
        return {} if cell.is_baseline else self.params.models[cell.model].arguments

    def code(self, cell: Cell) -> str:
        """Fingerprint of the source that trains a cell."""
        losses = [f"losses.{term}" for term in self.params.losses[str(cell.loss)]]
        data = self.params.datasets[cell.dataset].kind
        return catalogue.fingerprint("training.cell", f"models.{self.kind(cell)}", f"data.{data}", *losses)

    def _weights(self, cell: Cell) -> dict[str, str | None]:
        """The raw files that a cell's loss terms read, each with its sha256; None for one that is not there."""
        terms = self.params.losses[cell.loss] if cell.loss else {}
        named = [catalogue.constant(f"losses.{term}", "RAW_WEIGHTS") for term in terms]
        return {name: sha256_of(RAW / name) if (RAW / name).is_file() else None for name in named if name}

    def _data_facts(self, dataset: str) -> tuple[Any, ...]:
        entry = self.params.datasets[dataset]
        index = catalogue.constant(f"data.{entry.kind}", "RAW_INDEX")
        own_files = index and entry.arguments.get("source") == "official" and (RAW / index).exists()
        raw = sha256_of_text(RAW / index) if own_files else None
        return as_tree(entry), catalogue.fingerprint(f"data.{entry.kind}"), raw

    def _recipe_key(self, cell: Cell) -> str:
        """What cells that differ only in depth and seed share; hashed once for all of them."""

        def compute() -> str:
            parameters = self.parameters(cell)
            parameters["model"].pop("depth")
            return _key("recipe", self.data_key(cell.dataset), parameters, self.code(cell))

        return self._remember(("recipe", cell.dataset, cell.model, cell.loss), compute)

    def _measures_key(self, dataset: str, model: str) -> str:
        def compute() -> str:
            evaluation = as_tree(self.params.evaluation)
            del evaluation["resamples"]
            evaluation["protocols"] = list(self.params.protocols(dataset).items())  # the order says which one leads
            evaluation["compared"] = self.params.compared(dataset)
            modules = {f"metrics.{catalogue.metrics()[metric][0]}" for metric in evaluation["metrics"]}
            trained = self.params.models.get(model)  # None: a baseline, whose name is its module
            kind, replication = (trained.kind, trained.replication) if trained else (model, False)
            data = self.params.datasets[dataset].kind
            code = catalogue.fingerprint("evaluation.evaluate", f"models.{kind}", f"data.{data}", *modules)
            return _key("measures", evaluation, self.params.scale, replication, code)

        return self._remember(("measures", dataset, model), compute)

    @cached_property
    def _remembered(self) -> dict[tuple[Any, ...], str]:
        return {}

    def _remember(self, about: tuple[Any, ...], compute: Any) -> str:
        if about not in self._remembered:
            self._remembered[about] = compute()
        return self._remembered[about]

    # --- places -----------------------------------------------------------------------------------

    def data_folder(self, dataset: str) -> Path:
        """Where a prepared dataset lies."""
        return Path(_place(PROCESSED, dataset, self.data_key(dataset)))

    def probe_folder(self, cell: Cell) -> Path:
        """Where the probe of a cell's dataset, model and depth lies."""
        return Path(_place(RUNS, PROBE.format_map(vars(cell)), self.probe_key(cell)))

    def run_folder(self, cell: Cell) -> Path:
        """Where a trained cell lies."""
        return Path(_place(RUNS, cell.name, self.run_key(cell)))

    def score_folder(self, cell: Cell) -> Path:
        """Where a cell's scores lie."""
        return Path(_place(SCORES, cell.name, self.score_key(cell)))

    def checkpoint_folder(self, cell: Cell) -> Path:
        """Where an unfinished cell is kept; no engine knows of it, so neither deletes it."""
        return CHECKPOINTS / cell.name / self.run_key(cell)

    @property
    def tables_manifest(self) -> Path:
        """Exists if and only if the tables in ``reports/`` belong to these scores."""
        return SCORES / f"tables-{self.tables_key}.json"

    @property
    def report_manifest(self) -> Path:
        """Exists if and only if figures and report belong to these tables."""
        return FIGURES / f"report-{self.report_key}.json"

    def record_folder(self, study: str) -> Path:
        """Where a study is recorded at this scale."""
        return RECORDS / f"{study}-{self.params.scale}"

    def data_files(self, dataset: str) -> list[str]:
        """Everything that ``prepare`` makes."""
        return _in(_place(PROCESSED, dataset, self.data_key(dataset)), DATA_FILES)

    def probe_files(self, cell: Cell) -> list[str]:
        """Everything that ``probe`` makes."""
        return _in(_place(RUNS, PROBE.format_map(vars(cell)), self.probe_key(cell)), PROBE_FILES)

    def run_files(self, cell: Cell) -> list[str]:
        """Everything that ``train`` makes."""
        return _in(_place(RUNS, cell.name, self.run_key(cell)), RUN_FILES)

    def score_files(self, cell: Cell) -> list[str]:
        """Everything that ``evaluate`` makes."""
        return _in(_place(SCORES, cell.name, self.score_key(cell)), SCORE_FILES)

    def table_files(self) -> list[str]:
        """Everything that ``tables`` makes, its manifest last."""
        return [*_in(REPORTS, TABLES), str(self.tables_manifest)]

    def figure_file(self, figure: str, dataset: str) -> str:
        """One figure of one dataset."""
        return str(FIGURES / f"{figure}-{dataset}.svg")

    def figure_files(self) -> list[str]:
        """Every figure of the study."""
        return [self.figure_file(figure, dataset) for figure, dataset in self.figures()]

    def page_files(self) -> list[str]:
        """The report, and the manifest that dates it and its figures."""
        return [str(REPORTS / "report.html"), str(self.report_manifest)]

    def report_files(self) -> list[str]:
        """Everything that ``report`` makes, its manifest last."""
        return [*self.figure_files(), *self.page_files()]


def _place(root: Path, name: str, key: str) -> str:
    """A folder as text: a plan names thousands, and a Path takes ten times as long to put together."""
    return f"{root}/{name}/{key}"


def _in(folder: str | Path, names: Iterable[str]) -> list[str]:
    return [f"{folder}/{name}" for name in names]


def _key(*parts: Any) -> str:
    """Eight hex digits over plain values."""
    return sha256(canonical(parts))[:8]


def _texts() -> Iterator[Path]:
    """The files besides Python that shape the report: its templates, the published tables and the recorded runs."""
    yield from (catalogue.PACKAGE / "report" / "templates").iterdir()
    yield from (catalogue.PACKAGE / "published").glob("*.yaml")
    yield from (path for name in RECORD_FILES for path in RECORDS.glob(f"*/{name}"))
