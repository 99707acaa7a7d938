"""From a name in params.yaml to its object: the module that it names, called with the arguments written beside it."""

from typing import TYPE_CHECKING

from framecast import catalogue

if TYPE_CHECKING:
    from framecast.data.base import Dataset
    from framecast.grid import Cell, Grid
    from framecast.models.base import Forecaster

AFFECTS_NUMBERS = False  # module and arguments are in every key


def dataset(grid: "Grid", name: str) -> "Dataset":
    """The dataset of a name; nothing of it is read yet."""
    entry = grid.params.datasets[name]
    return catalogue.load("data", entry.kind)(**entry.arguments)  # type: ignore[no-any-return]


def model(grid: "Grid", cell: "Cell", frame_shape: tuple[int, ...]) -> "Forecaster":
    """The untrained model of a cell, on the CPU."""
    kind = grid.kind(cell)
    known = {"depth": cell.depth, "context": grid.params.datasets[cell.dataset].arguments["context"]}
    given = {name: known[name] for name in catalogue.given(kind)}
    return catalogue.load("models", kind)(tuple(frame_shape), **grid.model_arguments(cell), **given)  # type: ignore[no-any-return]
