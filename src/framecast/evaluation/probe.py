"""Probe the causality of one system on one dataset before anything of it is trained."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from framecast import artifacts, assemble
from framecast.errors import UserError
from framecast.evaluation.causality import first_leak, in_words
from framecast.training.seeding import be_deterministic, seed_weights

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

SEED = 0  #: of weights and frames; a verdict is about the system, not about one of its cells


def ensure(grid: "Grid", cell: "Cell") -> Path:
    """The probe of a cell's dataset, model and depth, made now where it is not there.

    Only a system that may be trained has one, so nothing has to be read: raises UserError for one that leaks and is
    not marked as a replication.
    """
    (file,) = map(Path, grid.probe_files(cell))
    if not file.exists():
        probe(grid, cell)
    return file


def probe(grid: "Grid", cell: "Cell") -> str:
    """Write the probe of a cell's dataset, model and depth, and give its sentence. No data is read.

    Raises UserError, and writes nothing, for a system that leaks and is not marked as a replication.
    """
    be_deterministic(grid.params.recipe(cell.model, cell.dataset).threads)
    data = assemble.dataset(grid, cell.dataset)
    with torch.random.fork_rng():
        seed_weights(SEED)
        model = assemble.model(grid, cell, data.frame_shape)
        context = torch.rand(1, data.context, *data.frame_shape)
    leak = first_leak(model, context, data.horizon, seed=SEED)
    replication = grid.params.models[cell.model].replication
    name = f"{cell.dataset}/{cell.model}/depth-{cell.depth}"
    if leak and not replication:
        raise UserError(
            f"{name}: found {in_words(leak)}; allowed: a causal system, or, for a published leak, "
            f"`replication: true` in models.{cell.model} of params.yaml; nothing of it is trained"
        )
    sentence = f"{name}: {in_words(leak, replication=replication)}"
    facts = _facts(grid, cell)
    facts |= {"frame_shape": list(data.frame_shape), "context": data.context, "horizon": data.horizon, "seed": SEED}
    facts |= {"verdict": "leaky" if leak else "causal", "first_leak": leak, "sentence": sentence}
    (file,) = map(Path, grid.probe_files(cell))
    artifacts.write_json(file, facts)
    return sentence


def _facts(grid: "Grid", cell: "Cell") -> dict[str, Any]:
    return {
        "key": grid.probe_key(cell),
        **{name: getattr(cell, name) for name in ("dataset", "model", "depth")},
        "parameters": grid.probe_parameters(cell),
        "sha256": {},  # nothing lies beside it: it is there for the seal that comes with it
    }
