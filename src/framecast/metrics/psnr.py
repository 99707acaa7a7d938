"""Peak signal-to-noise ratio, in the conventions that average over frames, channels or mean errors.

Means of logarithms are not logarithms of means: psnr_frame ≥ psnr_of_mean, strictly when errors vary. A perfect frame
would be infinite; it counts as 100 dB, and the score's note says how many there were.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from framecast.metrics.base import FrameMean, Pair
from framecast.metrics.kernels.errors import CAP, decibels, mean_square

FRAMES = "video"


class CappedPsnr(FrameMean):
    """A PSNR per frame or channel, counting the ones limited to 100 dB."""

    def __init__(self, horizon: int, frame_shape: tuple[int, ...]) -> None:
        super().__init__(horizon, frame_shape)
        self.capped = 0

    def add(self, values: Float64[Tensor, "b k"]) -> None:
        """Add the values of B sequences and count their perfect frames."""
        super().add(values)
        self.capped += int((values >= CAP).sum())

    def note(self) -> str:
        """How many frames were perfect."""
        return f"{self.capped} perfect frames count as {CAP:g} dB" if self.capped else ""


class PsnrFrame(CappedPsnr):
    """Mean over frames of −10 log₁₀ A_frame, clipped forecasts, peak 1. OpenSTL (current), Keras/TF, SAVP, KARTAL."""

    id = "psnr_frame"
    better = "higher"
    unit = "PSNR (dB)"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """PSNR of each frame."""
        return decibels(pair.clipped.shared(mean_square))


class PsnrFrameU8(CappedPsnr):
    """As psnr_frame on grey levels truncated to uint8, peak 255. PredRNN family, MIM."""

    id = "psnr_frame_u8"
    better = "higher"
    unit = "PSNR of truncated grey levels (dB)"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """PSNR of each frame's grey levels."""
        return decibels(pair.truncated.shared(mean_square), 255.0)


class PsnrChannel(CappedPsnr):
    """Mean over channels and frames of each channel's PSNR, clipped forecasts, peak 1. SVG."""

    id = "psnr_channel"
    better = "higher"
    unit = "PSNR per channel (dB)"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """Mean of the channels' PSNR of each frame. A frame counts as perfect when all its channels are."""
        planes = Pair(pair.clipped.forecast.flatten(1, 2), pair.clipped.target.flatten(1, 2))
        return decibels(mean_square(planes)).unflatten(1, (self.horizon, -1)).mean(-1)


class PsnrWrapU8(CappedPsnr):
    """A PSNR whose uint8 differences and squares wrap around modulo 256, kept to compare with tables that have it.

    An error of 16 grey levels counts as none (16² = 256), so values lie 15–20 dB too high. SimVP's first release and
    the 37.97 and 38.35 dB of older OpenSTL rows.
    """

    id = "psnr_wrap_u8"
    better = "higher"
    unit = "PSNR with uint8 wrap-around (dB)"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """PSNR of each frame from squares modulo 256."""
        error = pair.truncated.forecast.byte() - pair.truncated.target.byte()
        return decibels((error * error).double().flatten(2).mean(-1), 255.0)


class PsnrOfMean(FrameMean):
    """10 log₁₀(1 / mean A), not clipped: the PSNR that a table of mse_pix01 implies.

    Overall, the mean runs over all steps before the logarithm.
    """

    id = "psnr_of_mean"
    better = "higher"
    unit = "PSNR of the mean error (dB)"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """A of each frame."""
        return pair.shared(mean_square)

    def result(self) -> Float64[Tensor, " k"]:
        """PSNR of each step's mean error."""
        return decibels(super().result())

    def overall(self, per_step: Float64[Tensor, " k"]) -> float:
        """PSNR of the mean error over all steps."""
        return float(decibels(torch.mean(super().result())))
