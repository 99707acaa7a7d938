"""Train one cell: open its data, build its model, run the loop, write its bundle."""

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file

from framecast import artifacts, assemble
from framecast.cluster.journal import Asked, attempt
from framecast.cluster.lease import lease
from framecast.losses.base import WeightedLoss
from framecast.training import augmentation, snapshots
from framecast.training.checkpoint import Checkpoints
from framecast.training.loop import Ledger, Trainer
from framecast.training.progress import Progress, progress
from framecast.training.seeding import be_deterministic, denormals_as_zero, seed_weights
from framecast.training.stopping import Stop

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid


def train(
    grid: "Grid",
    cell: "Cell",
    *,
    stop: Stop,
    device: torch.device,
    asked: Asked,
    admit: Callable[[], object],
    patience: float = 0,
    checkpoint_minutes: float = 5.0,
) -> bool:
    """Bring a cell to its finished bundle; False when it already was.

    ``admit`` is called before anything is trained, and refuses a system that must not be with a UserError.
    ``patience`` is how many seconds to wait for another process that trains it.

    Raises NotFinished (exit code 75) when stopped in time, UserError for a busy cell, foreign or damaged
    checkpoints, altered data, and losses that are not finite.
    """
    folder, checkpoints = grid.run_folder(cell), Checkpoints(grid.checkpoint_folder(cell), grid.run_key(cell))
    with lease(checkpoints.folder, cell.name, patience):
        done = (folder / "run.json").exists()
        if not done:
            with attempt("train", cell.name, grid.run_key(cell), str(device), asked) as record, denormals_as_zero():
                admit()
                trainer = _trainer(grid, cell, device)
                with progress(cell.name) as tell:
                    told = _both(tell, record.step)
                    ledger = trainer.fit(checkpoints, stop, told, _every(checkpoint_minutes * 60))
                _write_bundle(folder, trainer, ledger, _manifest(grid, cell, trainer, ledger))
        checkpoints.clear()
    return not done


def _trainer(grid: "Grid", cell: "Cell", device: torch.device) -> Trainer:
    recipe, seed = grid.params.recipe(cell.model, cell.dataset), int(cell.seed or 0)
    be_deterministic(recipe.threads)
    data = assemble.Prepared(grid, cell.dataset)
    if recipe.rotations:
        augmentation.refuse_to_turn(data.dataset.frame_shape, cell.name)
    seed_weights(seed)
    return Trainer(
        cell.name,
        assemble.model(grid, cell, data.dataset.frame_shape),
        WeightedLoss(grid.params.losses[str(cell.loss)]),
        data.split("train", seed, device),
        data.split("validation", seed, device),
        recipe,
        context=data.dataset.context,
        seed=seed,
        device=device,
    )


def _both(first: Progress, second: Progress) -> Progress:
    def tell(step: int, steps: int, loss: float) -> None:
        first(step, steps, loss)
        second(step, steps, loss)

    return tell


def _every(seconds: float) -> Any:
    """A question that answers yes once per interval of the wall clock."""
    last = time.monotonic()

    def due() -> bool:
        nonlocal last
        if time.monotonic() - last < seconds:
            return False
        last = time.monotonic()
        return True

    return due


def _write_bundle(folder: Path, trainer: Trainer, ledger: Ledger, manifest: dict[str, Any]) -> None:
    """Weights, history and snapshots first, the manifest that vouches for them last."""
    weights = {name: value.cpu().contiguous() for name, value in trainer.model.state_dict().items()}
    with artifacts.replacing(folder / "model.safetensors") as partial:
        save_file(weights, partial)
    columns = list(dict.fromkeys(name for row in ledger.history for name in row))  # a row may lack some: left empty
    lines = [",".join(columns), *(",".join(str(row.get(name, "")) for name in columns) for row in ledger.history)]
    artifacts.write_text(folder / "history.csv", "\n".join(lines) + "\n")
    with artifacts.replacing(folder / "snapshots.safetensors") as partial:
        save_file(_snapshots(trainer), partial)
    names = ("history.csv", "model.safetensors", "snapshots.safetensors")
    manifest["sha256"] = {name: artifacts.sha256_of(folder / name) for name in names}
    artifacts.write_json(folder / "run.json", manifest)


def _snapshots(trainer: Trainer) -> dict[str, torch.Tensor]:
    """The first validation sequences, ``context`` and ``target``, and what was ``forecast/<step>`` of them."""
    sequences = trainer.held_out(np.arange(min(snapshots.SEQUENCES, len(trainer.validation))))
    truth = {"context": sequences[:, : trainer.context], "target": sequences[:, trainer.context :]}
    kept = {name: snapshots.stored(frames) for name, frames in truth.items()}
    return kept | {f"forecast/{step}": forecast for step, forecast in trainer.snapshots.items()}


def _manifest(grid: "Grid", cell: "Cell", trainer: Trainer, ledger: Ledger) -> dict[str, Any]:
    device = torch.cuda.get_device_name(trainer.device) if trainer.device.type == "cuda" else trainer.device.type
    return {
        "cell": cell.name,
        "key": grid.run_key(cell),
        **{name: getattr(cell, name) for name in ("dataset", "model", "depth", "loss", "seed")},
        "parameters": grid.parameters(cell),
        "fingerprints": {"code": grid.code(cell), "data": grid.data_key(cell.dataset)},
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "device": device,
        "parameter_count": sum(p.numel() for p in trainer.model.parameters()),
        "steps": ledger.step,
        "best_step": ledger.best_step if trainer.recipe.selection == "best_validation" else ledger.step,
        "best_validation_loss": ledger.best_loss,
    }
