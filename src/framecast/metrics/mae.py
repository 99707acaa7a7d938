"""Mean absolute error per value."""

from jaxtyping import Float64
from torch import Tensor

from framecast.metrics.base import FrameMean, Pair
from framecast.metrics.kernels.errors import mean_absolute

FRAMES = "any"


class MaePix01(FrameMean):
    """mean |p − y| over everything, on [0, 1]; forecasts are not clipped."""

    id = "mae_pix01"
    better = "lower"
    unit = "mean absolute error per pixel, values in [0, 1]"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """Mean |p − y| of each frame."""
        return pair.shared(mean_absolute)
