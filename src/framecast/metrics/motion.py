"""Errors of motion and of its absence, which an error over all pixels mixes.

Both read forecasts as the model gave them, on [0, 1].
"""

from jaxtyping import Float64
from torch import Tensor

from framecast.metrics.base import FrameMean, Pair

FRAMES = "video"


class TemporalDifferenceError(FrameMean):
    """mean ((ŷ_k − ŷ_{k−1}) − (y_k − y_{k−1}))²: how wrongly it changes from frame to frame; flicker raises it.

    Before the first forecast comes the last observed frame, of both.
    """

    id = "temporal_difference_error"
    better = "lower"
    unit = "mean squared error of the change to the next frame, values in [0, 1]"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """The mean over the pixels of each frame."""
        error = (pair.forecast - pair.target).double()
        error[:, 1:] -= error[:, :-1].clone()
        return error.flatten(2).square().mean(-1)


class StaticError(FrameMean):
    """mean (ŷ − y)² over the pixels that never change in the whole true sequence, context and future.

    NaN for a test set with a sequence that has no such pixel. A system without recurrence is said to err even there.
    """

    id = "static_error"
    better = "lower"
    unit = "mean squared error where nothing moves, values in [0, 1]"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """The mean over the static values of each frame."""
        still = (pair.sequence == pair.sequence[:, :1]).all(1, keepdim=True).flatten(2).double()
        error = (pair.forecast - pair.target).double().flatten(2).square()
        return (error * still).sum(-1) / still.sum(-1)
