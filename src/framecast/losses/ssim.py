"""Structural similarity as a loss: 1 − SSIM (Wang, Bovik, Sheikh and Simoncelli, 2004).

The window of the metric ``ssim_gauss``: Gaussian 11×11, σ = 1.5, positions where it fits, biased variances, R = 1. With
s = y + p and t = y − p, window means E and variances V, the usual fraction is

    SSIM = (1 − 2a)(1 − 2b),   a = E²t / (E²s + E²t + 2C₁),   b = Vt / (Vs + Vt + 2C₂),   C₁ = 0.01², C₂ = 0.03²,

hence 1 − SSIM = 2a + 2b − 4ab: a sum of small numbers, exactly 0 for equal frames, and smooth everywhere.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from framecast.errors import UserError

FRAMES = "video"
SMALLEST_FRAME = 11  #: pixels that the window takes along each side
SIGMA, RADIUS = 1.5, SMALLEST_FRAME // 2
C1, C2 = 0.01**2, 0.03**2


def ssim(forecast: Float[Tensor, "b k c h w"], target: Float[Tensor, "b k c h w"]) -> Float[Tensor, ""]:
    """1 − SSIM, the mean over positions, channels and frames; in [0, 2] for data in [0, 1].

    The metric clips forecasts to [0, 1] and the loss does not, so that its gradient reaches what lies outside.
    Raises UserError for frames that are smaller than the window.
    """
    size = SMALLEST_FRAME
    if min(target.shape[-2:]) < size:
        height, width = target.shape[-2:]
        raise UserError(
            f"loss term ssim: found frames of {height}×{width} pixels; allowed: at least {size}×{size}; "
            "leave the term out for this data set"
        )
    s, t = target + forecast, target - forecast
    mean_s, mean_t = _window_means(s).square(), _window_means(t).square()
    variance_s, variance_t = _window_means(s.square()) - mean_s, _window_means(t.square()) - mean_t
    a = mean_t / (mean_s + mean_t + 2 * C1)
    b = variance_t / (variance_s + variance_t + 2 * C2)
    return (2 * a + 2 * b - 4 * a * b).mean()


def _window_means(video: Float[Tensor, "b k c h w"]) -> Float[Tensor, "n 1 h2 w2"]:
    """Gaussian means of every plane, along the columns and then along the rows."""
    taps = [math.exp(-((offset / SIGMA) ** 2) / 2) for offset in range(-RADIUS, RADIUS + 1)]
    weights = torch.tensor(taps, dtype=video.dtype, device=video.device) / sum(taps)
    planes = video.flatten(0, 2).unsqueeze(1)
    return functional.conv2d(functional.conv2d(planes, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
