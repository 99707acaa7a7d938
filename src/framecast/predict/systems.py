"""Trained cells by the name that a person gives, and their forecasts of one clip."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float32
from safetensors.torch import load_file

from framecast import artifacts, assemble
from framecast.errors import UserError
from framecast.evaluation.score import Scores, applicable, score
from framecast.models.base import Baseline, Forecaster
from framecast.predict.clip import Clip
from framecast.predict.notes import Notes
from framecast.results import System
from framecast.training.seeding import be_deterministic

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

REFERENCE = "copy_last"


@dataclass(frozen=True)
class Forecast:
    """What one cell says of the clip: frames (K, *frame), not clipped, and scores of those whose truth is known."""

    cell: "Cell"
    name: str
    frames: Float32[np.ndarray, "k *frame"]
    scores: Scores | None


def chosen(grid: "Grid", run: str, notes: Notes, *, every_seed: bool, everything: bool) -> list["Cell"]:
    """The trained cells that are meant: one, one with each of its seeds, or also every other system of its dataset.

    A name without its seed means each of them. Raises UserError for a name that the grid has not, for a baseline, and
    when the cell that was named, or every seed of it, is not trained.
    """
    named = run.strip("/")
    seeds = [cell for cell in grid.cells if cell.name.rsplit("/", 1)[0] == named]
    leading = seeds or [grid.find(named)]
    if leading[0].is_baseline:
        raise UserError(f"cell {run}: a baseline is not trained; name a trained cell, baselines come with --all")
    if every_seed and not seeds:
        leading = [cell for cell in grid.cells if _system(cell) == _system(leading[0])]
    wanted = leading
    if everything:
        own_seeds = {cell.seed for cell in leading}
        same = [cell for cell in grid.cells if cell.dataset == leading[0].dataset and cell.seed in own_seeds]
        wanted = list(dict.fromkeys([*leading, *same]))
    trained = [cell for cell in wanted if (grid.run_folder(cell) / "run.json").exists()]
    if leading[0] not in trained and not (len(leading) > 1 and set(leading) & set(trained)):
        name = leading[0].name
        raise UserError(f"cell {name}: {grid.run_folder(leading[0])} is not there; run `framecast train {name}`")
    if left_out := [cell.name for cell in wanted if cell not in trained]:
        more = f" and {len(left_out) - 1} more" * (len(left_out) > 1)
        notes.warn("not trained", f"{left_out[0]}{more} left out")
    baselines = [cell for cell in grid.baselines if cell.dataset == leading[0].dataset] if everything else []
    fitted = [cell for cell in baselines if _is_fitted(grid, cell)]
    if fitted:
        notes.warn("not here", f"{', '.join(cell.model for cell in fitted)}: fitted to training data anew each time")
    return [*trained, *(cell for cell in baselines if cell not in fitted)]


def names(cells: list["Cell"]) -> list[str]:
    """What the cells are called beside each other: their systems, and the seed of those that have several."""
    systems = [_system(cell) for cell in cells]
    return [
        f"{system} seed-{cell.seed}" if systems.count(system) > 1 else str(system)
        for cell, system in zip(cells, systems, strict=True)
    ]


def trained_steps(grid: "Grid", cells: list["Cell"], asked: int) -> list[int]:
    """Of each cell how many of the ``asked`` forecast steps of its dataset it was trained on: all, unless its recipe
    says fewer."""
    found = []
    for cell in cells:
        own = None if cell.is_baseline else grid.params.recipe(cell.model, cell.dataset).horizon
        unseen = 0 if own is None else grid.params.datasets[cell.dataset].arguments["horizon"] - own
        found.append(max(0, asked - unseen))
    return found


def forecast(grid: "Grid", cell: "Cell", name: str, clip: Clip, shape: tuple[int, ...], horizon: int) -> Forecast:
    """The cell's forecast of a clip, on the CPU, free-running.

    Raises UserError when its weights are not those of its manifest, or a forecast is not finite.
    """
    model = _untrained(grid, cell, shape) if cell.is_baseline else trained(grid, cell)
    context = torch.from_numpy(clip.context)[None]
    with torch.no_grad():
        frames = model(context, horizon)
    if not frames.isfinite().all():
        step = int((~frames[0].flatten(1).isfinite().all(dim=1)).nonzero()[0]) + 1
        raise UserError(
            f"cell {cell.name}: its forecast is NaN or infinite at step {step}; ask for a shorter --horizon"
        )
    known = len(clip.truth)
    scores = _scored(grid, cell, frames[:, :known], clip) if known else None
    return Forecast(cell, name, frames[0].float().numpy(), scores)


def trained(grid: "Grid", cell: "Cell") -> Forecaster:
    """The network of a trained cell, on the CPU, ready to forecast.

    Raises UserError when its weights are not there, or not those of its manifest.
    """
    folder = grid.run_folder(cell)
    if not (folder / "run.json").exists():
        raise UserError(f"cell {cell.name}: {folder} is not there; run `framecast train {cell.name}`")
    artifacts.verify(folder / "run.json", "model.safetensors")
    model = _untrained(grid, cell, assemble.dataset(grid, cell.dataset).frame_shape)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model


def _untrained(grid: "Grid", cell: "Cell", shape: tuple[int, ...]) -> Forecaster:
    be_deterministic(1 if cell.is_baseline else grid.params.recipe(cell.model, cell.dataset).threads)
    return assemble.model(grid, cell, shape).eval()


def reference(grid: "Grid", cell: "Cell", clip: Clip, shape: tuple[int, ...], horizon: int) -> Forecast:
    """The last observed frame, again and again: what every forecast has to beat."""
    from framecast.study.grid import Cell

    return forecast(grid, Cell(cell.dataset, REFERENCE), REFERENCE, clip, shape, horizon)


def spread(forecasts: list[Forecast]) -> dict[str, list[float]]:
    """Of each system with several seeds the standard deviation over these, mean over a frame's pixels, step by step."""
    found = {}
    for system in dict.fromkeys(_system(one.cell) for one in forecasts):
        frames = [one.frames for one in forecasts if _system(one.cell) == system]
        if len(frames) > 1:
            deviation = np.std(np.stack(frames).clip(0, 1), axis=0, ddof=1)
            found[str(system)] = deviation.reshape(len(deviation), -1).mean(axis=1).astype(float).tolist()
    return found


def _system(cell: "Cell") -> System:
    return System(cell.model, cell.loss, cell.depth)


def _is_fitted(grid: "Grid", cell: "Cell") -> bool:
    shape = assemble.dataset(grid, cell.dataset).frame_shape
    return type(assemble.model(grid, cell, shape)).fit is not Baseline.fit  # type: ignore[attr-defined]


def _scored(grid: "Grid", cell: "Cell", frames: torch.Tensor, clip: Clip) -> Scores:
    """The metrics of params.yaml over the steps whose truth is known."""
    batch = frames.float(), torch.from_numpy(clip.truth)[None], torch.from_numpy(clip.context)[None]
    ids = applicable(grid.params.evaluation.metrics, grid.params.frames(cell.dataset))
    return score([batch], ids, horizon=len(clip.truth), frame_shape=tuple(batch[1].shape[2:]), compared=())
