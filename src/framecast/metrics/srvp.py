"""The three metrics of the SRVP study, comparable with nothing else until converted.

All are taken on grey levels 0..255 rounded half to even, over the whole test set at each horizon step. Two of them use
as the peak the forecasts' own range R = max − min at that step, so forecasts of low contrast are penalised twice. R is
known only at the end; it is 0 for constant forecasts (the ``zeros`` baseline), for which neither is defined: NaN.
"""

import tempfile
import weakref
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from framecast.errors import UserError
from framecast.metrics.base import FrameMean, Metric, Pair
from framecast.metrics.kernels.errors import decibels, mean_square
from framecast.metrics.kernels.windows import UNIFORM, mean_ssim_3d

FRAMES = "video"

#: Pixels of one slab of the sample axis; about 100 MB of window sums.
SLAB = 2**20


class MsePix255U8(FrameMean):
    """Mean squared grey levels per pixel: about 65 025 · mse_pix01."""

    id = "mse_pix255u8"
    better = "lower"
    unit = "mean squared error of rounded grey levels (0..255)"

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """A of each frame's grey levels."""
        return pair.rounded.shared(mean_square)


class ForecastRange:
    """R = max − min of the rounded forecasts of each step, followed over batches."""

    def __init__(self, horizon: int) -> None:
        self.lowest = torch.full((horizon,), 255.0, dtype=torch.float64)
        self.highest = torch.zeros(horizon, dtype=torch.float64)

    def update(self, pair: Pair) -> None:
        """Widen the range by a batch."""
        steps = pair.rounded.forecast.transpose(0, 1).flatten(1)  # (K, B·C·H·W)
        self.lowest = self.lowest.minimum(steps.amin(1).double().cpu())
        self.highest = self.highest.maximum(steps.amax(1).double().cpu())

    def peak(self) -> Float64[Tensor, " k"]:
        """R of each step; NaN where the forecasts are constant."""
        peak = self.highest - self.lowest
        return peak.where(peak > 0, torch.nan)

    def note(self) -> str:
        """Which steps have no value, or a range other than 255."""
        peak = self.peak()
        if peak.isnan().any():
            return f"not defined at {int(peak.isnan().sum())} steps whose forecasts are constant"
        return f"forecasts span {peak.min():g} to {peak.max():g} of 255 grey levels" if peak.min() < 255 else ""


class PsnrSrvp(FrameMean):
    """10 log₁₀(R² / MSE_h) with MSE_h over all samples of step h, then the mean over steps."""

    id = "psnr_srvp"
    better = "higher"
    unit = "PSNR with the forecasts' range as peak (dB)"

    def __init__(self, horizon: int, frame_shape: tuple[int, ...]) -> None:
        super().__init__(horizon, frame_shape)
        self.range = ForecastRange(horizon)

    def values(self, pair: Pair) -> Float64[Tensor, "b k"]:
        """A of each frame's grey levels."""
        return pair.rounded.shared(mean_square)

    def update(self, pair: Pair) -> None:
        """Add a batch's errors and widen the range."""
        super().update(pair)
        self.range.update(pair)

    def result(self) -> Float64[Tensor, " k"]:
        """PSNR of each step's mean error; NaN where the forecasts are constant."""
        return decibels(super().result(), self.range.peak())

    def note(self) -> str:
        """The range of the forecasts where it is not 255."""
        return self.range.note()


class SsimSrvp(Metric):
    """3-D SSIM of the (sample, row, column) stack of each step and channel: uniform 7×7×7 window, unbiased.

    The border of 3 is left out on all three axes, then the mean over channels. The window slides over *neighbouring
    test samples*, so the value depends on their order: the test split's. Fewer than 7 samples leave no window: NaN.

    R is known only at the end, so grey levels wait in a temporary file of 2·K·C·H·W bytes per sequence (in ``TMPDIR``).
    """

    id = "ssim_srvp"
    better = "higher"
    unit = "3-D SSIM over neighbouring samples"
    smallest_frame = 7

    def __init__(self, horizon: int, frame_shape: tuple[int, ...]) -> None:
        super().__init__(horizon, frame_shape)
        self.range = ForecastRange(horizon)
        self.samples = 0
        self.spool = tempfile.TemporaryFile(prefix="framecast-ssim_srvp-")  # noqa: SIM115
        weakref.finalize(self, self.spool.close)

    def update(self, pair: Pair) -> None:
        """Widen the range and append the batch to the temporary file.

        Raises UserError when the temporary folder is full.
        """
        self.range.update(pair)
        images = torch.stack([pair.rounded.forecast, pair.rounded.target], dim=1).byte().cpu()  # (B, 2, K, C, H, W)
        try:
            self.spool.write(images.numpy().tobytes())
            self.spool.flush()
        except OSError as error:
            raise UserError(
                f"ssim_srvp: cannot keep {len(images) + self.samples} test sequences in {tempfile.gettempdir()}: "
                f"{error.strerror}; set TMPDIR to a folder with more room, or remove ssim_srvp from evaluation.metrics"
            ) from error
        self.samples += len(images)

    def result(self) -> Float64[Tensor, " k"]:
        """SSIM of each step; NaN with fewer than 7 samples and where the forecasts are constant."""
        peaks = self.range.peak()
        if self.samples < len(UNIFORM.weights):
            return torch.full_like(peaks, torch.nan)
        steps = enumerate(peaks.tolist())
        return peaks.new_tensor([mean_ssim_3d(self._slabs(step), peak) for step, peak in steps])

    def note(self) -> str:
        """Why there is no value, or the range of the forecasts where it is not 255."""
        if self.samples < len(UNIFORM.weights):
            return f"not defined with {self.samples} test sequences: the window takes {len(UNIFORM.weights)}"
        return self.range.note()

    def _slabs(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The step's forecasts and targets, (samples, H, W, C), a few samples at a time and 6 of them twice."""
        stack = np.memmap(self.spool, np.uint8, "r", shape=(self.samples, 2, self.horizon, *self.frame_shape))
        overlap = 2 * UNIFORM.radius
        centres = max(overlap, SLAB // int(np.prod(self.frame_shape)))
        for start in range(0, self.samples - overlap, centres):
            slab = torch.from_numpy(stack[start : start + centres + overlap, :, step].astype(np.float32))
            forecast, target = slab.movedim(2, -1).unbind(1)
            yield forecast, target
