"""Grey where the truth is black or white, and digits that are paler than they are: two ways to hedge in a picture.

Both read clipped forecasts. Neither asks whether a digit is where it should be, so read them beside an error: they take
apart what two papers call grey and ghosts.
"""

from jaxtyping import Float, Float64
from torch import Tensor

from framecast.metrics.base import FrameMean, Pair

FRAMES = "video"
GREY = (0.1, 0.9)  #: between these a value is neither black nor white
FOREGROUND = 0.1  #: a truth that is brighter than this belongs to a digit


class GreyExcess(FrameMean):
    """max(0, g(ŷ) − g(y)), g(x) the share of a frame's values with 0.1 < x < 0.9: grey that the truth does not have."""

    id = "grey_excess"
    better = "lower"
    unit = "share of values that are grey, beyond the truth's"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """Of each frame, over its pixels and channels."""
        return (grey(pair.clipped.forecast) - grey(pair.target)).clamp_min(0)


class ForegroundLevel(FrameMean):
    """Σ ŷ / Σ y over the values with y > 0.1: how bright the forecast is on the digits themselves; below 1 is a ghost.

    NaN for a test set with a frame that has no such value.
    """

    id = "foreground_level"
    better = "one"
    unit = "brightness on the digits / that of the truth"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """Of each frame, over its pixels and channels."""
        target = pair.target.flatten(2).double()
        digits = target > FOREGROUND
        return (pair.clipped.forecast.flatten(2) * digits).sum(-1) / (target * digits).sum(-1)


def grey(video: Float[Tensor, "b k c h w"]) -> Float64[Tensor, "b k"]:
    """g of each frame."""
    return ((video > GREY[0]) & (video < GREY[1])).flatten(2).double().mean(-1)
