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
    arguments = grid.model_arguments(cell) | ({} if cell.depth is None else {"depth": cell.depth})
    return catalogue.load("models", grid.kind(cell))(tuple(frame_shape), **arguments)  # type: ignore[no-any-return]
