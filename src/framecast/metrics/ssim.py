"""Structural similarity per frame, in the four conventions that differ in range and window.

SSIM is averaged over the positions where the window fits, then over channels, then over frames. The conventions rank
models alike but cannot be converted into each other. The equation is in ``kernels/windows.py``.
"""

from jaxtyping import Float64
from torch import Tensor

from framecast.metrics.base import FrameMean, Pair
from framecast.metrics.kernels.windows import GAUSSIAN, UNIFORM, Moments, Window, moments

FRAMES = "video"


def uniform_moments(pair: Pair) -> Moments:
    """Window sums of every plane of a pair, uniform 7×7."""
    return _plane_moments(pair, UNIFORM)


def gaussian_moments(pair: Pair) -> Moments:
    """Window sums of every plane of a pair, Gaussian 11×11."""
    return _plane_moments(pair, GAUSSIAN)


def _plane_moments(pair: Pair, window: Window) -> Moments:
    forecast, target = (video.flatten(0, 2).permute(1, 2, 0) for video in (pair.forecast, pair.target))
    return moments(forecast, target, window)  # (H, W, B·K·C)


class FrameSsim(FrameMean):
    """SSIM of each frame, the mean over its channels."""

    def per_frame(self, sums: Moments, peak: float) -> Float64[Tensor, "b k"]:
        """SSIM for range R = ``peak``."""
        return sums.ssim(peak).unflatten(0, (-1, self.horizon, self.frame_shape[0])).mean(-1)


class SsimU8(FrameSsim):
    """Uniform 7×7 window, unbiased covariance, truncated grey levels, R = 255. PredRNN (PyTorch), PredRNN++."""

    id = "ssim_u8"
    better = "higher"
    unit = "SSIM of truncated grey levels"
    smallest_frame = 7

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """SSIM of each frame."""
        return self.per_frame(pair.truncated.shared(uniform_moments), 255.0)


class SsimF1(FrameSsim):
    """Uniform 7×7 window, unbiased covariance, clipped forecasts, R = 1: the sane default, close to ssim_u8."""

    id = "ssim_f1"
    better = "higher"
    unit = "SSIM"
    smallest_frame = 7

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """SSIM of each frame."""
        return self.per_frame(pair.clipped.shared(uniform_moments), 1.0)


class SsimF2(FrameSsim):
    """As ssim_f1 with R = 2, the range scikit-image ≤ 0.19 assumed for floats: inflated.

    SimVP, OpenSTL, MIM, PhyDNet, MIMO-VP.
    """

    id = "ssim_f2"
    better = "higher"
    unit = "SSIM with range 2"
    smallest_frame = 7

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """SSIM of each frame."""
        return self.per_frame(pair.clipped.shared(uniform_moments), 2.0)


class SsimGauss(FrameSsim):
    """Gaussian 11×11 window with σ = 1.5, biased covariance, clipped forecasts, R = 1. TF (KARTAL), SVG."""

    id = "ssim_gauss"
    better = "higher"
    unit = "SSIM with Gaussian window"
    smallest_frame = 11

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """SSIM of each frame."""
        return self.per_frame(pair.clipped.shared(gaussian_moments), 1.0)
