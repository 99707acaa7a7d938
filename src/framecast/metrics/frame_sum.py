"""Errors summed over a frame, then averaged over frames: the MSE and MAE of the PredRNN family's tables.

Tables of Human3.6M print mse_sum01 / 10 and mae_sum01 / 100; logs "per sequence" print K times the value here.
"""

import math
from typing import ClassVar

from jaxtyping import Float64
from torch import Tensor

from framecast.metrics.base import FrameMean, Pair
from framecast.metrics.kernels.errors import mean_absolute, mean_square

FRAMES = "video"


class FrameSum(FrameMean):
    """n · the mean error of each frame: the sum over C, H, W of its errors on [0, 1]."""

    better = "lower"
    squared: ClassVar[bool]
    clipped: ClassVar[bool]  #: whether forecasts are limited to [0, 1] first
    summed: ClassVar[slice] = slice(None)  #: the axes of a frame (C, H, W) that are summed; over the others the mean

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """The summed error of each frame."""
        seen = pair.clipped if self.clipped else pair
        return seen.shared(mean_square if self.squared else mean_absolute) * math.prod(self.frame_shape[self.summed])


class MseSum01(FrameSum):
    """Σ over C, H, W of (p − y)² on [0, 1], forecasts clipped: n · A. PredRNN (and its TF code), PredRNN++, MIM."""

    id = "mse_sum01"
    unit = "squared error per frame (sum), clipped"
    squared = True
    clipped = True


class MseSum01Raw(FrameSum):
    """As mse_sum01 with forecasts as the model gave them: n · A. SimVP, OpenSTL."""

    id = "mse_sum01_raw"
    unit = "squared error per frame (sum)"
    squared = True
    clipped = False


class MseHw01(FrameSum):
    """Σ over H, W and mean over C of (p − y)² on [0, 1], not clipped: H · W · A. MIMO-VP's code.

    It equals mse_sum01_raw only for grey frames.
    """

    id = "mse_hw01"
    unit = "squared error per channel and frame (sum)"
    squared = True
    clipped = False
    summed = slice(1, None)


class MaeSum01(FrameSum):
    """Σ over C, H, W of |p − y| on [0, 1], clipped forecasts: the companion of mse_sum01."""

    id = "mae_sum01"
    unit = "absolute error per frame (sum), clipped"
    squared = False
    clipped = True


class MaeSum01Raw(FrameSum):
    """As mae_sum01 with forecasts as the model gave them: the companion of mse_sum01_raw. SimVP, OpenSTL."""

    id = "mae_sum01_raw"
    unit = "absolute error per frame (sum)"
    squared = False
    clipped = False
