"""One cell alone, for whoever looks at a single one: its results without tables, and its figures as pictures."""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from framecast.figures.base import METADATA, style
from framecast.results import CellFiles, Results
from framecast.results.finished import cell_files
from framecast.study import catalogue

if TYPE_CHECKING:
    from framecast.study.grid import Cell, Grid

DPI = 110
FIGURES = {"series": "forecasts", "video": "filmstrip"}  #: what shows forecasts of each kind of data


def alone(files: CellFiles) -> Results:
    """The results of one scored cell: enough for figures that read stored clips and histories, and no tables."""
    return Results(pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), (files,), ())


@dataclass(frozen=True)
class Forecast(CellFiles):
    """A scored cell with forecasts that were made just now in the place of the stored ones."""

    made: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def clips(self) -> dict[str, np.ndarray]:  # type: ignore[override]  # a cached property there
        """``context``, ``target`` and ``forecast``, each (n, T, *frame) float32."""
        return dict(self.made)


def forecast_of(
    grid: "Grid",
    cell: "Cell",
    context: Float[torch.Tensor, "n t *frame"],
    target: Float[torch.Tensor, "n k *frame"],
    forecast: Float[torch.Tensor, "n k *frame"],
) -> Forecast:
    """A scored cell whose figures show these sequences, in [0, 1], and this forecast of them."""
    made = {"context": context, "target": target, "forecast": forecast}
    return Forecast(
        **asdict(cell_files(grid, cell)), made={name: frames.float().cpu().numpy() for name, frames in made.items()}
    )


@dataclass(frozen=True)
class Picture:
    """A PNG that a notebook shows."""

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png


def picture(name: str, results: Results, dataset: str) -> Picture:
    """A figure of the project by its name, for these results."""
    with style():
        figure: Figure = catalogue.load("figures", name)(results, dataset)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, metadata=METADATA["png"])
    return Picture(buffer.getvalue())
