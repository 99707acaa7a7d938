"""Errors summed over a frame, then averaged over frames: the MSE and MAE of the PredRNN family's tables.

Tables of Human3.6M print mse_sum01 / 10 and mae_sum01 / 100; logs "per sequence" print K times the value here.
"""

import math

from jaxtyping import Float64
from torch import Tensor

from framecast.metrics.base import FrameMean, Pair
from framecast.metrics.kernels.errors import mean_absolute, mean_square

FRAMES = "video"


class MseSum01(FrameMean):
    """Σ over C, H, W of (p − y)² on [0, 1], forecasts clipped: n · A. PredRNN (and its TF code), PredRNN++, MIM."""

    id = "mse_sum01"
    better = "lower"
    unit = "squared error per frame (sum), clipped"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """n · A of each clipped frame."""
        return pair.clipped.shared(mean_square) * math.prod(self.frame_shape)


class MseSum01Raw(FrameMean):
    """As mse_sum01 with forecasts as the model gave them: n · A. SimVP, OpenSTL."""

    id = "mse_sum01_raw"
    better = "lower"
    unit = "squared error per frame (sum)"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """n · A of each frame."""
        return pair.shared(mean_square) * math.prod(self.frame_shape)


class MseHw01(FrameMean):
    """Σ over H, W and mean over C of (p − y)² on [0, 1], not clipped: H · W · A. MIMO-VP's code.

    It equals mse_sum01_raw only for grey frames.
    """

    id = "mse_hw01"
    better = "lower"
    unit = "squared error per channel and frame (sum)"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """H · W · A of each frame."""
        return pair.shared(mean_square) * math.prod(self.frame_shape[1:])


class MaeSum01(FrameMean):
    """Σ over C, H, W of |p − y| on [0, 1], clipped forecasts: the companion of mse_sum01."""

    id = "mae_sum01"
    better = "lower"
    unit = "absolute error per frame (sum), clipped"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """n · mean |p − y| of each clipped frame."""
        return pair.clipped.shared(mean_absolute) * math.prod(self.frame_shape)


class MaeSum01Raw(FrameMean):
    """As mae_sum01 with forecasts as the model gave them: the companion of mse_sum01_raw. SimVP, OpenSTL."""

    id = "mae_sum01_raw"
    better = "lower"
    unit = "absolute error per frame (sum)"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """n · mean |p − y| of each frame."""
        return pair.shared(mean_absolute) * math.prod(self.frame_shape)
