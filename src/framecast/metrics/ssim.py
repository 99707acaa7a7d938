"""Structural similarity per frame, in the four conventions that differ in range and window.

SSIM is averaged over the positions where the window fits, then over channels, then over frames. The conventions rank
models alike but cannot be converted into each other. The equation is in ``kernels/windows.py``.
"""

from jaxtyping import Float64
from torch import Tensor

from framecast.errors import UserError
from framecast.metrics.base import FrameMean, Pair
from framecast.metrics.kernels.windows import UNIFORM, Window, gaussian, mean_ssim

FRAMES = "video"


def require_window(metric: str, frame_shape: tuple[int, ...], window: Window) -> None:
    """Raise UserError when a frame (C, H, W) is smaller than the metric's window."""
    size = len(window.weights)
    if min(frame_shape[1:]) < size:
        height, width = frame_shape[1:]
        raise UserError(
            f"evaluation.metrics: {metric} needs frames of at least {size}×{size} pixels, "
            f"this data set has {height}×{width}; remove {metric} from the list"
        )


def frame_ssim(pair: Pair, window: Window, peaks: list[float]) -> Float64[Tensor, "r b k"]:
    """SSIM of each frame, the mean of its channels, for each peak."""
    forecast, target = (video.flatten(0, 2) for video in (pair.forecast, pair.target))  # (B·K·C, H, W)
    return mean_ssim(forecast, target, window, peaks).unflatten(1, pair.forecast.shape[:3]).mean(-1)


def uniform_float(pair: Pair) -> Float64[Tensor, "2 b k"]:
    """SSIM with the uniform window for peaks 1 and 2, which differ in two constants only."""
    return frame_ssim(pair, UNIFORM, [1.0, 2.0])


class SsimU8(FrameMean):
    """Uniform 7×7 window, unbiased covariance, truncated grey levels, R = 255. PredRNN (PyTorch), PredRNN++."""

    id = "ssim_u8"
    better = "higher"
    unit = "SSIM of truncated grey levels"

    def __init__(self, horizon: int, frame_shape: tuple[int, ...]) -> None:
        require_window(self.id, frame_shape, UNIFORM)
        super().__init__(horizon, frame_shape)

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """SSIM of each frame."""
        return frame_ssim(pair.truncated, UNIFORM, [255.0])[0]


class SsimF1(FrameMean):
    """Uniform 7×7 window, unbiased covariance, clipped forecasts, R = 1: the sane default, close to ssim_u8."""

    id = "ssim_f1"
    better = "higher"
    unit = "SSIM"

    def __init__(self, horizon: int, frame_shape: tuple[int, ...]) -> None:
        require_window(self.id, frame_shape, UNIFORM)
        super().__init__(horizon, frame_shape)

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """SSIM of each frame."""
        return pair.clipped.shared(uniform_float)[0]


class SsimF2(FrameMean):
    """As ssim_f1 with R = 2, the range scikit-image ≤ 0.19 assumed for floats: inflated.

    SimVP, OpenSTL, MIM, PhyDNet, MIMO-VP.
    """

    id = "ssim_f2"
    better = "higher"
    unit = "SSIM with range 2"

    def __init__(self, horizon: int, frame_shape: tuple[int, ...]) -> None:
        require_window(self.id, frame_shape, UNIFORM)
        super().__init__(horizon, frame_shape)

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """SSIM of each frame."""
        return pair.clipped.shared(uniform_float)[1]


class SsimGauss(FrameMean):
    """Gaussian 11×11 window with σ = 1.5, biased covariance, clipped forecasts, R = 1. TF (KARTAL), SVG."""

    id = "ssim_gauss"
    better = "higher"
    unit = "SSIM with Gaussian window"

    def __init__(self, horizon: int, frame_shape: tuple[int, ...]) -> None:
        require_window(self.id, frame_shape, gaussian())
        super().__init__(horizon, frame_shape)

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """SSIM of each frame."""
        return frame_ssim(pair.clipped, gaussian(), [1.0])[0]
