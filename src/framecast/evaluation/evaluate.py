"""Score one cell or baseline on its test split, free-running, and keep a few forecasts to look at."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from framecast import artifacts, catalogue, construct, prepared
from framecast.data.base import Split
from framecast.errors import UserError
from framecast.evaluation.causality import first_leak
from framecast.evaluation.score import Scores, applicable, score, write_scores_csv
from framecast.models.base import Baseline, Forecaster
from framecast.training.seeding import be_deterministic

if TYPE_CHECKING:
    from framecast.grid import Cell, Grid

FIT_BATCH = 1024


def evaluate(grid: "Grid", cell: "Cell", *, device: torch.device) -> None:
    """Write the score files of a cell: per metric and step, per test sequence, and clips.

    Raises UserError when the cell is not trained, its weights are not those of its manifest, or a forecast is not
    finite.
    """
    settings = grid.params.evaluation
    be_deterministic(1 if cell.is_baseline else grid.params.recipe(cell.model).threads)
    data = prepared.Prepared(grid, cell.dataset)
    model = _model(grid, cell, data, device).eval()
    test = data.split("test", 0, device)
    context, horizon = data.dataset.context, data.dataset.horizon
    clips: list[tuple[Tensor, Tensor, Tensor]] = []
    scores = score(
        _forecasts(model, test, context, settings.batch_size, clips),
        applicable(settings.metrics, grid.params.frames(cell.dataset)),
        horizon=horizon,
        frame_shape=data.dataset.frame_shape,
        primary=settings.primary,
    )
    leak = first_leak(model, test.batch(np.arange(1))[:, :context], horizon)
    _write(grid, cell, data, scores, _first(clips, settings.clips), leak)


@torch.no_grad()
def _forecasts(
    model: Forecaster, split: Split, context: int, batch_size: int, clips: list[tuple[Tensor, Tensor, Tensor]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """(forecast, target) batches over a split; the first one is also left in ``clips`` with its context."""
    for start in range(0, len(split), batch_size):
        sequences = split.batch(np.arange(start, min(start + batch_size, len(split))))
        observed, target = sequences[:, :context], sequences[:, context:]
        forecast = model(observed, target.shape[1]).float()
        if not clips:
            clips.append((observed, target, forecast))
        yield forecast, target


def _model(grid: "Grid", cell: "Cell", data: prepared.Prepared, device: torch.device) -> Forecaster:
    model = construct.model(grid, cell, data.dataset.frame_shape)
    if isinstance(model, Baseline):
        if type(model).fit is not Baseline.fit:
            train = data.split("train", 0, device)
            parts = [train.batch(part) for part in np.array_split(np.arange(len(train)), -(-len(train) // FIT_BATCH))]
            sequences = torch.cat(parts)
            model.fit(sequences[:, : data.dataset.context], sequences[:, data.dataset.context :])
        return model.to(device)
    model.load_state_dict(load_file(_verified(grid, cell) / "model.safetensors"))
    return model.to(device)


def _verified(grid: "Grid", cell: "Cell") -> Path:
    """The run folder of a trained cell whose weights are those that its manifest vouches for."""
    folder = grid.run_folder(cell)
    if not (folder / "run.json").exists():
        raise UserError(f"cell {cell.name}: {folder} is not there; run `framecast train {cell.name}`")
    artifacts.verify(folder / "run.json", "model.safetensors")
    return folder


def _first(clips: list[tuple[Tensor, Tensor, Tensor]], count: int) -> dict[str, Tensor]:
    """The first few test sequences: uint8 for images, float32 for series."""
    kept = {}
    for name, sequences in zip(("context", "target", "forecast"), clips[0], strict=True):
        part = sequences[:count].cpu()
        kept[name] = ((part.clamp(0, 1) * 255).round().byte() if part.ndim == 5 else part).contiguous()
    return kept


def _write(
    grid: "Grid",
    cell: "Cell",
    data: prepared.Prepared,
    scores: Scores,
    clips: dict[str, Tensor],
    leak: tuple[int, int] | None,
) -> None:
    folder = grid.score_folder(cell)
    with artifacts.replacing(folder / "scores.csv") as partial:
        write_scores_csv(partial, scores)
    content = io.BytesIO()  # written to a file directly, NumPy says neither that the disk is full nor which one
    np.save(content, scores.sequences, allow_pickle=False)
    with artifacts.replacing(folder / "sequences.npy") as partial:
        partial.write_bytes(content.getvalue())
    with artifacts.replacing(folder / "clips.safetensors") as partial:
        save_file(clips, partial)
    manifest = _manifest(grid, cell, data, scores, leak)
    names = ("scores.csv", "sequences.npy", "clips.safetensors")
    manifest["sha256"] = {name: artifacts.sha256_of(folder / name) for name in names}
    artifacts.write_json(folder / "score.json", manifest)


def _manifest(
    grid: "Grid", cell: "Cell", data: prepared.Prepared, scores: Scores, leak: tuple[int, int] | None
) -> dict[str, Any]:
    facts = data.manifest["facts"]
    run = {} if cell.is_baseline else artifacts.read_json(grid.run_folder(cell) / "run.json")
    return {
        "cell": cell.name,
        "key": grid.score_key(cell),
        "run_key": run.get("key"),
        **{name: getattr(cell, name) for name in ("dataset", "model", "depth", "loss", "seed")},
        "scale": grid.params.scale,
        "split": "test",
        "sequences": len(scores.sequences),
        "context": data.dataset.context,
        "horizon": data.dataset.horizon,
        "frames": grid.params.frames(cell.dataset),
        "frame_shape": list(data.dataset.frame_shape),
        "source": facts["source"],
        "origin": facts["origin"],
        "mode": "free-running",
        "causal": "causal" if leak is None else "leaky",
        "first_leak": leak,
        "primary_metric": grid.params.evaluation.primary,
        "parameters": {name: grid.parameters(cell)[name] for name in ("dataset", "model")},
        "notes": scores.notes,
        "parameter_count": run.get("parameter_count", 0),
        "description": catalogue.summary(catalogue.load("models", grid.kind(cell))),
    }
