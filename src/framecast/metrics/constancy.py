"""Does a forecast of a series still move, or has it settled on the constant ½?

    A_k = mean over sequences and channels of (ŷ_k − ½)² = variance of ŷ_k + (its mean − ½)²

which is 0 exactly when every forecast of step k is ½. A diagnostic, no score: that lower is called better says which
way a forecast turns into the constant, and says nothing of its error.
"""

from jaxtyping import Float64
from torch import Tensor

from framecast.metrics.base import FrameMean, Pair

FRAMES = "series"


class SquareAboutHalf(FrameMean):
    """Mean square of the forecast about ½, as the model gave it; on [0, 1] at most 0.25."""

    id = "square_about_half"
    better = "lower"
    unit = "mean squared distance of the forecast from 0.5"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """The mean over the channels of each point."""
        return (pair.forecast.double() - 0.5).square().flatten(2).mean(-1)
