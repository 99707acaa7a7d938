"""Mean squared error per value: what COLEMAN, KARTAL and SVG print."""

from jaxtyping import Float64
from torch import Tensor

from framecast.metrics.base import FrameMean, Pair
from framecast.metrics.kernels.errors import mean_square

FRAMES = "any"


class MsePix01(FrameMean):
    """mean (p − y)² over everything, on [0, 1]; forecasts not clipped, so it is the training loss on test data."""

    id = "mse_pix01"
    better = "lower"
    unit = "mean squared error per pixel, values in [0, 1]"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """A of each frame."""
        return pair.shared(mean_square)
