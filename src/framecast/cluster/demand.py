"""What a cell needs, counted on its own network: operations, launches, and the memory that one training step keeps.

The cell's model is built of PyTorch's fake tensors, which have shapes and no content, and is run forward once for a
batch of its own size. Nothing has to be declared in a model's file, and every hyper-parameter counts.
"""

import contextlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecast.artifacts import read_json, write_json
from framecast.errors import UserError

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

AFFECTS_NUMBERS = False
COUNTED = Path("logs/demand")  #: what was counted, by the key of a cell; counting again gives the same
BACKWARD = 2  #: a backward pass costs twice its forward pass: one product for the input, one for the weights
COPIES = 4  #: of the parameters: values, gradients and Adam's two moments
KEPT = 3  #: more of them with a second update in each step: values and moments as they were before the first


@dataclass(frozen=True)
class Demand:
    """One training step of a cell."""

    flops: float  #: floating-point operations, forward and backward
    launches: int  #: operations that a device has to be told of
    parameters: int
    tensors_mb: float  #: parameters with their copies, and what the backward pass needs, in MB of 10⁶ bytes

    def seconds(self, teraflops: float, launch: float) -> float:
        """Time of a step on a device of this speed that takes ``launch`` seconds for each operation."""
        return self.flops / (teraflops * 1e12) + self.launches * launch


def demand(grid: "Grid", cell: "Cell") -> Demand:
    """What one training step of a cell needs, whatever its seed. Kept on disk, because counting imports torch."""
    first = replace(cell, seed=grid.params.seeds[0])
    path = COUNTED / f"{grid.run_key(first)}.json"
    try:
        return Demand(**read_json(path))
    except (OSError, TypeError, UserError):
        found = _count(grid, cell)
    with contextlib.suppress(OSError):
        write_json(path, asdict(found))
    return found


def _count(grid: "Grid", cell: "Cell") -> Demand:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    from framecast import assemble

    class Launches(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.count += 1
            return func(*args, **(kwargs or {}))

    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    dataset, recipe = assemble.dataset(grid, cell.dataset), grid.params.recipe(cell.model, cell.dataset)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with FakeTensorMode(), Launches() as launches, FlopCounterMode(display=False) as counter, hooks:
        model = assemble.model(grid, cell, dataset.frame_shape)
        built = launches.count
        sequences = torch.empty(recipe.batch_size, dataset.context + dataset.horizon, *dataset.frame_shape)
        forecast = model.lesson(sequences, sequences, dataset.context).forecast
    updates, copies = (2, COPIES + KEPT) if recipe.reverse_input else (1, COPIES)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    saved = sum(kept.values()) + 3 * forecast.nbytes  # the loss keeps forecast, target and their difference
    return Demand(
        flops=float(counter.get_total_flops() * (1 + BACKWARD) * updates),
        launches=(launches.count - built) * (1 + BACKWARD) * updates,
        parameters=parameters,
        tensors_mb=(saved + copies * 4 * parameters) / 1e6,
    )
