"""From the names of a cell to its objects and arrays.

A name in ``params.yaml`` becomes the object of its module, called with the arguments written beside it; a dataset's raw
files become ``arrays.safetensors``, read as a memory map, and the manifest that vouches for it.
"""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from framecast import artifacts
from framecast.data.base import SPLITS, Dataset, Split, SplitName
from framecast.data.shared.streams import Stream, StreamedPrepared
from framecast.data.shared.streams import save as save_streams
from framecast.errors import UserError
from framecast.study import catalogue
from framecast.study.grid import RAW

if TYPE_CHECKING:
    from framecast.models.base import Forecaster
    from framecast.study.grid import Cell, Grid

AFFECTS_NUMBERS = False  # module and arguments are in every key


def dataset(grid: "Grid", name: str) -> Dataset:
    """The dataset of a name; nothing of it is read yet."""
    entry = grid.params.datasets[name]
    return catalogue.load("data", entry.kind)(**entry.arguments)  # type: ignore[no-any-return]


def model(grid: "Grid", cell: "Cell", frame_shape: tuple[int, ...]) -> "Forecaster":
    """The untrained model of a cell, on the CPU."""
    kind = grid.kind(cell)
    known = {"depth": cell.depth, "context": grid.params.datasets[cell.dataset].arguments["context"]}
    given = {name: known[name] for name in catalogue.given(kind)}
    return catalogue.load("models", kind)(tuple(frame_shape), **grid.model_arguments(cell), **given)  # type: ignore[no-any-return]


def prepare(grid: "Grid", name: str) -> None:
    """Build a dataset's arrays and write them, the manifest last.

    Raises UserError when a raw file is missing, truncated or altered.
    """
    kind = dataset(grid, name)
    made = kind.prepare(RAW)
    folder = grid.data_folder(name)
    streams = made.streams if isinstance(made, StreamedPrepared) else {}
    with artifacts.replacing(folder / "arrays.safetensors") as partial:
        if streams:
            save_streams(partial, made.arrays, streams)
        else:
            # safetensors writes memory as it lies: a transposed view would be stored with its elements in another order
            save_file({key: np.ascontiguousarray(array) for key, array in made.arrays.items()}, partial)
    stored: dict[str, np.ndarray | Stream] = {**made.arrays, **streams}
    arrays = {key: {"shape": list(array.shape), "dtype": str(array.dtype)} for key, array in stored.items()}
    sizes = _sizes(kind, {key: _shape_of(array) for key, array in stored.items()})
    manifest = {
        "dataset": name,
        "key": grid.data_key(name),
        "parameters": {"kind": grid.params.datasets[name].kind, **grid.params.datasets[name].arguments},
        "frame_shape": list(kind.frame_shape),
        "context": kind.context,
        "horizon": kind.horizon,
        "splits": sizes,
        "arrays": arrays,
        "facts": dict(made.facts),
        "sha256": {"arrays.safetensors": artifacts.sha256_of(folder / "arrays.safetensors")},
    }
    artifacts.write_json(folder / "manifest.json", manifest)


def _shape_of(array: np.ndarray | Stream) -> Tensor:
    """An array, or, of one that need not fit into memory, a tensor without content that has its shape and type."""
    if isinstance(array, Stream):
        return torch.empty(array.shape, dtype=getattr(torch, array.dtype), device="meta")
    return torch.from_numpy(array)


def _sizes(dataset: Dataset, arrays: dict[str, Tensor]) -> dict[str, int]:
    cpu = torch.device("cpu")
    return {split: len(dataset.split(split, arrays, seed=0, device=cpu)) for split in SPLITS}


class Prepared:
    """A prepared dataset, opened.

    Raises UserError when it is missing, or when its arrays are not those that the manifest vouches for.
    """

    def __init__(self, grid: "Grid", name: str) -> None:
        self.dataset = dataset(grid, name)
        self.folder = grid.data_folder(name)
        if not (self.folder / "manifest.json").exists():
            raise UserError(f"dataset {name}: {self.folder} is not there; run `framecast prepare {name}`")
        self.manifest = artifacts.verify(self.folder / "manifest.json", "arrays.safetensors")

    @cached_property
    def arrays(self) -> dict[str, Tensor]:
        """The named arrays; only what is read is loaded."""
        file = safe_open(self.folder / "arrays.safetensors", framework="pt")
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)

    def split(self, name: SplitName, seed: int, device: torch.device) -> Split:
        """One split on a device."""
        return self.dataset.split(name, self.arrays, seed=seed, device=device)
