"""Score one cell or baseline on its test split, in every mode of its dataset, and keep a few forecasts to look at.

A test sequence is x₁ … x_N. A mode observes its first c frames and asks for the others, K = N − c:

``free-running``    x̂_{c+1} … x̂_N from x₁ … x_c alone; a system that needs the frames between reads its own.
``teacher-forced``  x̂_t from x₁ … x_{t−1}, all true. A system that is trained so gets the whole sequence at once; that
                    it does not look ahead in it is what the causality probe asks. Any other system, and a baseline, is
                    asked for one frame at a time and is given nothing but the past.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from framecast import artifacts, assemble
from framecast.data.base import Split
from framecast.errors import UserError
from framecast.evaluation.bootstrap import GROUPS
from framecast.evaluation.causality import first_leak
from framecast.evaluation.inside import alignment, look_back, maps
from framecast.evaluation.kept import Kept, kept, rows
from framecast.evaluation.score import Scores, applicable, score, write_scores_csv
from framecast.models.base import Baseline, Forecaster
from framecast.models.copy_last import CopyLast
from framecast.study import catalogue
from framecast.training import snapshots
from framecast.training.seeding import be_deterministic, seed_weights

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid
    from framecast.study.params import Mode

FIT_BATCH = 1024
LOOKED_INTO = 32  #: test sequences; an interval over sequences is then narrow enough, and a look costs two networks


def evaluate(grid: "Grid", cell: "Cell", *, device: torch.device) -> None:
    """Write the score files of a cell: per mode, metric and step, per test sequence, and clips.

    Raises UserError when the cell is not trained, its weights are not those of its manifest, or a forecast is not
    finite.
    """
    settings = grid.params.evaluation
    be_deterministic(1 if cell.is_baseline else grid.params.recipe(cell.model, cell.dataset).threads)
    data = assemble.Prepared(grid, cell.dataset)
    model = _model(grid, cell, data, device).eval()
    test = data.split("test", 0, device)
    scores: dict[Mode, Scores] = {}
    protocols = grid.params.protocols(cell.dataset)
    for mode, observed in protocols.items():
        scores[mode] = score(
            _forecasts(model, test, mode, observed, settings.batch_size),
            applicable(settings.metrics, grid.params.frames(cell.dataset)),
            horizon=data.dataset.context + data.dataset.horizon - observed,
            frame_shape=data.dataset.frame_shape,
            compared=grid.params.compared(cell.dataset),
            taught=mode == "teacher-forced",
        )
    looked_at = _kept(grid, cell, data, test, scores)
    clips = _clips(model, test, protocols, rows(looked_at), settings.batch_size)
    clips |= maps(model, test.batch(np.arange(min(settings.clips, len(test)))))
    lengths = data.dataset.context, data.dataset.horizon
    clips |= look_back(model, _batches(test, settings.batch_size), *lengths)
    inside = alignment(model, _untrained(grid, cell, data, device), _batches(test, settings.batch_size))
    leak = first_leak(model, test.batch(np.arange(1))[:, : data.dataset.context], data.dataset.horizon)
    groups = data.groups("test")
    grouped = {} if groups is None else {GROUPS: torch.from_numpy(groups)}
    facts = {
        "inside": inside,
        "first_leak": leak,
        "groups": None if groups is None else len(np.unique(groups)),
        "kept": [{"sequence": one.sequence, "why": one.why} for one in looked_at],
    }
    _write(grid, cell, data, scores, clips, grouped, facts)


@torch.no_grad()
def _forecasts(
    model: Forecaster, split: Split, mode: "Mode", observed: int, batch_size: int, among: np.ndarray | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(forecast, target, context) batches over a split, or over the sequences ``among`` it, counted from 0."""
    order = np.arange(len(split)) if among is None else among
    for start in range(0, len(order), batch_size):
        sequences = split.batch(order[start : start + batch_size])
        forecast = forecast_in(mode, model, sequences, observed).float()
        yield forecast, sequences[:, observed:], sequences[:, :observed]


def forecast_in(mode: "Mode", model: Forecaster, sequences: Tensor, observed: int) -> Tensor:
    """The forecast of sequences (B, N, *frame) from their first ``observed`` frames on: (B, N − observed, *frame)."""
    context, future = sequences[:, :observed], sequences[:, observed:]
    if mode == "free-running":
        return model(context, future.shape[1])  # type: ignore[no-any-return]
    if model.READS_TEACHER:
        return model(context, future.shape[1], future)  # type: ignore[no-any-return]
    return torch.cat([model(sequences[:, :t], 1) for t in range(observed, sequences.shape[1])], dim=1)


def _model(grid: "Grid", cell: "Cell", data: assemble.Prepared, device: torch.device) -> Forecaster:
    model = assemble.model(grid, cell, data.dataset.frame_shape)
    if isinstance(model, Baseline):
        if type(model).fit is not Baseline.fit:
            train = data.split("train", 0, device)
            parts = [train.batch(part) for part in np.array_split(np.arange(len(train)), -(-len(train) // FIT_BATCH))]
            sequences = torch.cat(parts)
            model.fit(sequences[:, : data.dataset.context], sequences[:, data.dataset.context :])
        return model.to(device)
    model.load_state_dict(load_file(_verified(grid, cell) / "model.safetensors"))
    return model.to(device)


def _untrained(grid: "Grid", cell: "Cell", data: assemble.Prepared, device: torch.device) -> Forecaster:
    """The network as it was before its first step."""
    seed_weights(int(cell.seed or 0))
    return assemble.model(grid, cell, data.dataset.frame_shape).eval().to(device)


def _batches(split: Split, batch_size: int) -> Iterator[Tensor]:
    """The sequences that are looked into, a batch at a time."""
    count = min(LOOKED_INTO, len(split))
    return (split.batch(np.arange(start, min(start + batch_size, count))) for start in range(0, count, batch_size))


def _verified(grid: "Grid", cell: "Cell") -> Path:
    """The run folder of a trained cell whose weights are those that its manifest vouches for."""
    folder = grid.run_folder(cell)
    if not (folder / "run.json").exists():
        raise UserError(f"cell {cell.name}: {folder} is not there; run `framecast train {cell.name}`")
    artifacts.verify(folder / "run.json", "model.safetensors")
    return folder


def _kept(
    grid: "Grid", cell: "Cell", data: assemble.Prepared, test: Split, scores: "dict[Mode, Scores]"
) -> tuple[Kept, ...]:
    """Which sequences are kept, by the leading metric in the leading mode."""
    mode, observed = next(iter(grid.params.protocols(cell.dataset).items()))
    settings, shape = grid.params.evaluation, data.dataset.frame_shape
    copied = score(
        _forecasts(CopyLast(tuple(shape)), test, mode, observed, settings.batch_size),
        (),
        horizon=data.dataset.context + data.dataset.horizon - observed,
        frame_shape=shape,
        compared=(settings.primary,),
        taught=mode == "teacher-forced",
    )
    own, trivial = (told.sequences[settings.primary].mean(axis=1) for told in (scores[mode], copied))
    better: Any = catalogue.metric_fact(settings.primary, "better")
    return kept(own, trivial, settings.clips, better)


def _clips(
    model: Forecaster, test: Split, protocols: "dict[Mode, int]", chosen: np.ndarray, batch_size: int
) -> dict[str, Tensor]:
    """The chosen test sequences as they are stored: context, target and forecast of the leading mode, forecasts of
    the others."""
    clips: dict[str, Tensor] = {}
    for mode, observed in protocols.items():
        batches = zip(*_forecasts(model, test, mode, observed, batch_size, chosen), strict=True)
        forecast, target, context = (snapshots.stored(torch.cat(parts)) for parts in batches)
        clips |= (
            {f"{mode}/forecast": forecast} if clips else {"context": context, "target": target, "forecast": forecast}
        )
    return clips


def _write(
    grid: "Grid",
    cell: "Cell",
    data: assemble.Prepared,
    scores: "dict[Mode, Scores]",
    clips: dict[str, Tensor],
    groups: dict[str, Tensor],
    found: dict[str, Any],
) -> None:
    folder = grid.score_folder(cell)
    with artifacts.replacing(folder / "scores.csv") as partial:
        write_scores_csv(partial, scores)
    per_sequence = {
        f"{mode}/{metric}": torch.from_numpy(values)
        for mode, told in scores.items()
        for metric, values in told.sequences.items()
    }
    with artifacts.replacing(folder / "sequences.safetensors") as partial:
        save_file(per_sequence | groups, partial)
    with artifacts.replacing(folder / "clips.safetensors") as partial:
        save_file(clips, partial)
    manifest = _manifest(grid, cell, data, scores, found)
    names = ("scores.csv", "sequences.safetensors", "clips.safetensors")
    manifest["sha256"] = {name: artifacts.sha256_of(folder / name) for name in names}
    artifacts.write_json(folder / "score.json", manifest)


def _manifest(
    grid: "Grid", cell: "Cell", data: assemble.Prepared, scores: "dict[Mode, Scores]", found: dict[str, Any]
) -> dict[str, Any]:
    facts = data.manifest["facts"]
    run = {} if cell.is_baseline else artifacts.read_json(grid.run_folder(cell) / "run.json")
    length = data.dataset.context + data.dataset.horizon
    modes = {
        mode: {"context": observed, "horizon": length - observed}
        for mode, observed in grid.params.protocols(cell.dataset).items()
    }
    leads = next(iter(modes))
    return {
        "cell": cell.name,
        "key": grid.score_key(cell),
        "run_key": run.get("key"),
        **{name: getattr(cell, name) for name in ("dataset", "model", "depth", "loss", "seed")},
        "scale": grid.params.scale,
        "split": "test",
        "sequences": len(next(iter(scores[leads].sequences.values()))),
        "mode": leads,
        "modes": modes,
        **modes[leads],
        "frames": grid.params.frames(cell.dataset),
        "frame_shape": list(data.dataset.frame_shape),
        "source": facts["source"],
        "origin": facts["origin"],
        "causal": "causal" if found["first_leak"] is None else "leaky",
        **found,
        "replication": not cell.is_baseline and grid.params.models[cell.model].replication,
        "primary_metric": grid.params.evaluation.primary,
        "parameters": grid.score_parameters(cell),
        "notes": {mode: told.notes for mode, told in scores.items() if told.notes},
        "parameter_count": run.get("parameter_count", 0),
        "description": catalogue.summary(catalogue.load("models", grid.kind(cell))),
    }
