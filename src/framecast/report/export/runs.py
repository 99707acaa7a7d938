"""A finished cell as a tracker of experiments sees it: a run with settings, curves, scores and pictures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from framecast import artifacts
from framecast.report.alone import FIGURES, alone, picture
from framecast.report.export.cells import scores
from framecast.results import System
from framecast.results.finished import cell_files

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

Curve = list[tuple[int, float]]  #: step → value
ABOUT = ("step", "epoch", "split", "learning_rate", "loss")  #: columns of a history that are no terms of the loss
SHARE = "share_"


@dataclass(frozen=True)
class Run:
    """What is told of a cell."""

    cell: "Cell"
    key: str  #: of its scores
    steps: int  #: of training; 0 of a baseline
    settings: dict[str, Any]  #: plain values by dotted name
    training: dict[str, Curve]  #: by training step
    horizon: dict[str, Curve]  #: by forecast step, from 1
    overall: dict[str, float]  #: means over the forecast steps
    pictures: dict[str, bytes]  #: PNG

    @property
    def system(self) -> str:
        """What its seeds share."""
        return f"{self.cell.dataset} {System(self.cell.model, self.cell.loss, self.cell.depth)}"


def read(grid: "Grid", cell: "Cell") -> Run:
    """A scored cell, read from the files that its manifests vouch for; UserError where one is not."""
    facts, numbers = scores(grid, cell)
    artifacts.verify(grid.score_folder(cell) / "score.json", "clips.safetensors")
    files = cell_files(grid, cell)
    trained = {} if cell.is_baseline else artifacts.verify(grid.run_folder(cell) / "run.json", "history.csv")
    horizon: dict[str, Curve] = {}
    for number in numbers:
        if not number.is_overall:
            curve = horizon.setdefault(f"horizon_{number.mode}/{number.metric}", [])
            curve.append((int(number.step), number.value))
    identity = {name: getattr(cell, name) for name in ("dataset", "model", "depth", "loss", "seed")}
    told = {name: facts[name] for name in ("scale", "source", "causal", "parameter_count")}
    resolved = dict(_flat(grid.parameters(cell), "parameters"))
    results = alone(files)
    return Run(
        cell,
        facts["key"],
        trained.get("best_step", 0),
        {name: value for name, value in {**identity, **told, **resolved}.items() if value is not None},
        curves(files.history) if trained else {},
        horizon,
        {f"score_{number.mode}/{number.metric}": number.value for number in numbers if number.is_overall},
        {}
        if cell.is_baseline
        else {name: picture(name, results, cell.dataset).png for name in [FIGURES[facts["frames"]]]},
    )


def curves(history: pd.DataFrame) -> dict[str, Curve]:
    """A history of training by what it holds: the loss, its terms and their shares of the gradient, the learning rate.

    Losses of a split are ``loss/<split>`` and ``loss_<term>/<split>``; a number that is not there is no point.
    """
    terms = [name for name in history.columns if name not in ABOUT and not name.startswith(SHARE)]
    shares = [name for name in history.columns if name.startswith(SHARE)]
    found = {}
    for split, rows in history.groupby("split", sort=False):
        for name in ["loss", *terms]:
            found[f"loss/{split}" if name == "loss" else f"loss_{name}/{split}"] = _curve(rows, name)
    training = history[history["split"] == "train"]
    found |= {f"gradient_share/{name.removeprefix(SHARE)}": _curve(training, name) for name in shares}
    found |= {f"training/{name}": _curve(training, name) for name in ("learning_rate", "epoch")}
    return {name: curve for name, curve in found.items() if curve}


def _curve(rows: pd.DataFrame, name: str) -> Curve:
    known = rows[["step", name]].dropna()
    return list(zip(known["step"].astype(int).tolist(), known[name].astype(float).tolist(), strict=True))


def _flat(tree: Any, about: str = "") -> list[tuple[str, Any]]:
    """Leaves of a tree by dotted name; a list is a leaf, as text."""
    if not isinstance(tree, dict):
        return [(about, tree if isinstance(tree, (bool, int, float, str, type(None))) else str(tree))]
    return [leaf for key, value in tree.items() for leaf in _flat(value, f"{about}.{key}".lstrip("."))]
