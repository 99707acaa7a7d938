"""Record a finished study: its small tables, and everything that made them, for git to keep.

A record is worth something only if it can be made again, so code and ``params.yaml`` must be committed, and the code
that runs must be the repository's own. What the cells took, and on which machines, is what their attempts wrote down
(``cluster.journal``): where these are gone, the record says of how many attempts it knows, be it of none.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from framecast import artifacts
from framecast.cluster import journal
from framecast.errors import UserError
from framecast.evaluation.tables import tabulate
from framecast.published.claims import load_claims
from framecast.results import Results, claims
from framecast.results.finished import cell_files
from framecast.results.records import (
    CellRecord,
    Commit,
    DatasetRecord,
    Facts,
    Machine,
    ModelRecord,
    Spent,
)
from framecast.study import checkout, reading
from framecast.study.grid import RECORD_CLAIMS, RECORD_FILES, RECORD_TABLES
from framecast.study.mistakes import as_tree, unknown
from framecast.upkeep import history

if TYPE_CHECKING:
    from framecast.cluster.journal import Attempt, Phase
    from framecast.study.grid import Cell, Grid

    Attempts = dict[Phase, list[Attempt]]

AFFECTS_NUMBERS = False
CODE = ("src", "workflow", "Snakefile", "params.yaml", "pyproject.toml", "requirements.lock")
PHASES: tuple["Phase", ...] = ("train", "evaluate")
FEW = 3  #: of what is amiss so many are named, and the rest counted


def record(grid: "Grid", study: str, datasets: Sequence[str] = ()) -> Path:
    """Write the record of a study at the scale of ``params.yaml``, and say where it lies.

    Only this study's cells and the baselines of its datasets need to be finished; where some datasets are named, only
    theirs, and the record says which it leaves out. Recording twice gives the same bytes.

    Raises UserError for a study, or a dataset of it, that there is not; for code or ``params.yaml`` that is not
    committed, cells that are not finished, and scores that are not what their manifest vouches for; then nothing is
    written.
    """
    if study not in grid.params.studies:
        raise UserError(f"study: {unknown(study, grid.params.studies)}")
    every = grid.study_scored(study)
    held = list(dict.fromkeys(cell.dataset for cell in every))
    for name in datasets:
        if name not in held:
            raise UserError(f"study {study}: dataset: {unknown(name, held)}")
    commit, folder = _commit(), grid.record_folder(study)
    cells = [cell for cell in every if not datasets or cell.dataset in datasets]
    left_out = tuple(name for name in held if datasets and name not in datasets)
    _refuse_unfinished(grid, study, cells)
    with TemporaryDirectory() as name:
        place = Path(name)
        tabulate(grid, cells, place, RECORD_TABLES)
        _write_claims(grid, cells, place)
        made = {name: artifacts.sha256_of(place / name) for name in (*RECORD_TABLES, RECORD_CLAIMS)}
        artifacts.write_json(place / "record.json", as_tree(_facts(grid, study, cells, left_out, commit, made)))
        with artifacts.together([folder / name for name in RECORD_FILES]) as whole:
            for path, name in zip(whole, RECORD_FILES, strict=True):
                path.write_bytes((place / name).read_bytes())
    return folder


def _write_claims(grid: "Grid", cells: Sequence["Cell"], folder: Path) -> None:
    """What these cells say of the claims of the sources: their scores of every test sequence are not kept by git."""
    scores, horizon, comparisons = (folder / name for name in ("scores.csv", "horizon.csv", "comparisons.csv"))
    results = Results.load(scores, horizon, comparisons, [cell_files(grid, cell) for cell in cells])
    table = claims.measured(load_claims(), results)
    artifacts.write_text(folder / RECORD_CLAIMS, table.to_csv(index=False, lineterminator="\n"))


def _refuse_unfinished(grid: "Grid", study: str, cells: Sequence["Cell"]) -> None:
    if missing := [cell.name for cell in cells if not (grid.score_folder(cell) / "score.json").exists()]:
        raise UserError(
            f"study {study}: {len(missing)} of its {len(cells)} cells and baselines are not finished: "
            f"{_few(missing)}; `framecast status` says why"
        )


def _few(names: Sequence[str]) -> str:
    more = len(names) - FEW
    return ", ".join(names[:FEW]) + (f" and {more} more" if more > 0 else "")


# --- what was run ---------------------------------------------------------------------------------


def _commit() -> Commit:
    """The commit that last changed what makes numbers; UserError when it is not what is running."""
    if checkout.RUNNING.resolve() != checkout.SOURCE.resolve():
        raise UserError(
            f"record: the framecast that runs is {checkout.RUNNING}, and not this repository's {checkout.SOURCE}; "
            "activate the environment of this repository"
        )
    if changed := [line[3:] for line in _git("status", "--porcelain", "--", *CODE).splitlines()]:
        raise UserError(
            f"record: not committed: {_few(changed)}; `git commit` first, so that the run can be made again"
        )
    told = _git("log", "-1", "--format=%H %ct", "--", *CODE).split()
    if not told:
        raise UserError("record: git holds no commit of code and params.yaml; `git commit` first")
    return Commit(hash=told[0], date=datetime.fromtimestamp(int(told[1]), UTC).isoformat())


def _git(*arguments: str) -> str:
    try:
        return history.ask(*arguments).decode()
    except UserError as error:
        raise UserError(f"record: {error}") from None


def _facts(
    grid: "Grid",
    study: str,
    cells: Sequence["Cell"],
    left_out: tuple[str, ...],
    commit: Commit,
    made: dict[str, str],
) -> Facts:
    attempts = {cell: _attempts(grid, cell) for cell in cells}
    trainings, evaluations = ([one for told in attempts.values() for one in told.get(phase, ())] for phase in PHASES)
    scores = [_score(grid, cell) for cell in cells]
    models = dict.fromkeys(score["model"] for score in scores)
    return Facts(
        study=study,
        title=grid.params.studies[study].title,
        scale=grid.params.scale,
        commit=commit,
        params=reading.PARAMS.read_text(encoding="utf-8"),
        seeds=grid.params.seeds,
        versions=_versions(grid, cells),
        hardware=_machines([*trainings, *evaluations]),
        training=_spent(trainings),
        evaluation=_spent(evaluations),
        count=len(cells),
        left_out=left_out,
        cells={cell.name: _cell(grid, cell, attempts[cell]) for cell in cells},
        datasets={score["dataset"]: _dataset(score) for score in scores},
        models={name: _model([score for score in scores if score["model"] == name]) for name in models},
        sha256=made,
    )


def _score(grid: "Grid", cell: "Cell") -> dict[str, Any]:
    score: dict[str, Any] = artifacts.read_json(grid.score_folder(cell) / "score.json")
    return score


def _dataset(score: dict[str, Any]) -> DatasetRecord:
    named = {name: score[name] for name in ("modes", "mode", "primary_metric", "frames", "origin")}
    return DatasetRecord(parameters=score["parameters"]["dataset"], **named)


def _model(scores: Sequence[dict[str, Any]]) -> ModelRecord:
    """What the scores of one model say of it: its recipe on its first dataset, and those that differ from this one."""
    parameters = scores[0]["parameters"]
    arguments = {name: value for name, value in parameters["model"].items() if name != "depth"}
    training = parameters["training"]
    recipes = {score["dataset"]: score["parameters"]["training"] for score in scores}
    others = {dataset: recipe for dataset, recipe in recipes.items() if recipe != training}
    replication = scores[0]["replication"]
    return ModelRecord(arguments=arguments, replication=replication, training=training, training_on=others)


def _versions(grid: "Grid", cells: Iterable["Cell"]) -> dict[str, str]:
    """framecast's, and those that the trained cells name; several where they differ."""
    told: dict[str, set[str]] = {"framecast": {version("framecast")}}
    for cell in cells:
        if not cell.is_baseline and (manifest := grid.run_folder(cell) / "run.json").exists():
            for name, found in artifacts.read_json(manifest)["versions"].items():
                told.setdefault(name, set()).add(found)
    return {name: ", ".join(sorted(found)) for name, found in sorted(told.items())}


# --- what it took ---------------------------------------------------------------------------------


def _attempts(grid: "Grid", cell: "Cell") -> "Attempts":
    """Every attempt at a cell that is known of, by phase; a baseline is not trained."""
    found: Attempts = {"evaluate": journal.attempts("evaluate", cell.name, grid.score_key(cell))}
    if not cell.is_baseline:
        found["train"] = journal.attempts("train", cell.name, grid.run_key(cell))
    return found


def _cell(grid: "Grid", cell: "Cell", attempts: "Attempts") -> CellRecord:
    return CellRecord(
        run_key=None if cell.is_baseline else grid.run_key(cell),
        score_key=grid.score_key(cell),
        training=_spent(attempts["train"]) if "train" in attempts else None,
        evaluation=_spent(attempts["evaluate"]),
    )


def _spent(attempts: Iterable["Attempt"]) -> Spent:
    known = list(attempts)
    return Spent(
        attempts=len(known),
        seconds=round(sum(one.seconds for one in known), 1),
        core_seconds=round(sum(one.cpu_seconds for one in known), 1),
    )


def _machines(attempts: Iterable["Attempt"]) -> tuple[Machine, ...]:
    """Every machine that attempts were made on, each once."""
    fields = tuple(Machine.model_fields)
    found = {tuple(getattr(one, name) for name in fields) for one in attempts if one.processor}
    return tuple(Machine(**dict(zip(fields, machine, strict=True))) for machine in sorted(found))
