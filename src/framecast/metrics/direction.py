"""Direction accuracy: does a series go where it was said to go, up or down from where it was last seen?

    D_k = mean over sequences and channels of  1 where (ŷ_k − x)(y_k − x) > 0,  ½ where it is 0,  0 where it is < 0

with x the newest true point that the forecast of step k was made from: x_T free-running, y_{k−1} with a teacher. ½ is
what a coin reaches, also where one of the two does not move. Whether forecasts could support trading is asked with it.
"""

from jaxtyping import Float64
from torch import Tensor

from framecast.metrics.base import FrameMean, Pair

FRAMES = "series"


class DirectionAccuracy(FrameMean):
    """Share of forecasts on the right side of the last observed point; a coin has 0.5."""

    id = "direction_accuracy"
    better = "higher"
    unit = "share of forecasts in the right direction"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """1, ½ or 0 of each point, the mean over its channels."""
        newest = pair.newest.double()
        product = (pair.forecast.double() - newest) * (pair.target.double() - newest)
        return ((product.sign() + 1) / 2).flatten(2).mean(-1)
