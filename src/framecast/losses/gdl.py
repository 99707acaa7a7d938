"""Gradient difference loss: edges that the forecast blurs away cost (Mathieu, Couprie and LeCun, ICLR 2016).

The paper sums; here each direction is divided by the number N of its differences, so that weights do not depend on the
size of frames. KARTAL computes the same on TensorFlow, where each map of differences ends in a row (or column) of
zeros that counts in the mean: (H − 1)/H and (W − 1)/W of the two values, 1.6 % less on frames of 64×64.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

FRAMES = "video"


def gdl(
    forecast: Float[Tensor, "b k c h w"],
    target: Float[Tensor, "b k c h w"],
    *,
    alpha: Literal[1, 2] = 1,
    edges: Literal["valid", "zero_padded"] = "valid",
) -> Float[Tensor, ""]:
    """(1/N_v) Σ ||Δ_v y| − |Δ_v p||^α + (1/N_h) Σ ||Δ_h y| − |Δ_h p||^α, within each frame and never across time.

    Δ_v and Δ_h are first differences downwards and to the right. ``edges="valid"`` counts the (H − 1)·W and
    H·(W − 1) differences that exist (Mathieu et al.), ``"zero_padded"`` H·W of each (KARTAL, α = 1). For data in
    [0, 1] the value lies in [0, 2]. It is 0 for all that have the target's absolute differences, such as the target
    plus a constant, so it never stands alone; and where the forecast is flat its gradient is 0.
    """
    down, right = (_bracket(forecast, target, axis, alpha) for axis in (-2, -1))
    if edges == "zero_padded":
        height, width = target.shape[-2:]
        return down * (1 - 1 / height) + right * (1 - 1 / width)
    return down + right


def _bracket(forecast: Tensor, target: Tensor, axis: int, alpha: int) -> Float[Tensor, ""]:
    """mean ||Δ y| − |Δ p||^α along one axis; derivatives of |·| at 0 are 0."""
    difference = target.diff(dim=axis).abs() - forecast.diff(dim=axis).abs()
    return (difference.abs() if alpha == 1 else difference.square()).mean()
