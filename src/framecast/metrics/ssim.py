"""Structural similarity per frame, in the four conventions that differ in range and window.

SSIM is averaged over the positions where the window fits, then over channels, then over frames. The conventions rank
models alike but cannot be converted into each other. The equation is in ``kernels/windows.py``.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import ClassVar, Literal

from jaxtyping import Float64
from torch import Tensor

from framecast.metrics.base import FrameMean, Pair
from framecast.metrics.kernels.windows import GAUSSIAN, UNIFORM, Moments, Window, moments

FRAMES = "video"


@cache
def plane_sums(window: Window) -> Callable[[Pair], Moments]:
    """Window sums of every plane of a pair: the same function for the same window, so that ids share what it gives."""
    return partial(_plane_sums, window=window)


def _plane_sums(pair: Pair, window: Window) -> Moments:
    forecast, target = (video.flatten(0, 2).permute(1, 2, 0) for video in (pair.forecast, pair.target))
    return moments(forecast, target, window)  # (H, W, B·K·C)


class FrameSsim(FrameMean):
    """SSIM of each frame, the mean over its channels: a window, the images that it sees, and their range R."""

    better = "higher"
    smallest_frame = 7
    window: ClassVar[Window] = UNIFORM
    images: ClassVar[Literal["clipped", "truncated"]] = "clipped"
    peak: ClassVar[float] = 1.0

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """SSIM of each frame."""
        seen: Pair = getattr(pair, self.images)
        planes = seen.shared(plane_sums(self.window)).ssim(self.peak)
        return planes.unflatten(0, (-1, self.horizon, self.frame_shape[0])).mean(-1)


class SsimU8(FrameSsim):
    """Uniform 7×7 window, unbiased covariance, truncated grey levels, R = 255. PredRNN (PyTorch), PredRNN++."""

    id = "ssim_u8"
    unit = "SSIM of truncated grey levels"
    images = "truncated"
    peak = 255.0


class SsimF1(FrameSsim):
    """Uniform 7×7 window, unbiased covariance, clipped forecasts, R = 1: the sane default, close to ssim_u8."""

    id = "ssim_f1"
    unit = "SSIM"


class SsimF2(FrameSsim):
    """As ssim_f1 with R = 2, the range scikit-image ≤ 0.19 assumed for floats: inflated.

    SimVP, OpenSTL, MIM, PhyDNet, MIMO-VP.
    """

    id = "ssim_f2"
    unit = "SSIM with range 2"
    peak = 2.0


class SsimGauss(FrameSsim):
    """Gaussian 11×11 window with σ = 1.5, biased covariance, clipped forecasts, R = 1. TF (KARTAL), SVG."""

    id = "ssim_gauss"
    unit = "SSIM with Gaussian window"
    smallest_frame = 11
    window = GAUSSIAN
