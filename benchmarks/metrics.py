"""Every metric id of the evaluator against a loop over frames: scikit-image where it defines the metric, else NumPy."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from benchmarks.base import Row, paired
from framecast.evaluation.score import score
from framecast.study import catalogue

SEQUENCES, HORIZON, SHAPE = 64, 10, (1, 64, 64)
THREADS = 2
GOAL = 5
#: Asked of together, the goal's pair.
PAIR = ("ssim_f1", "psnr_frame")


def rows() -> list[Row]:
    """640 frames of 64 × 64 in one process with two threads; each id alone, then SSIM and PSNR together."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        videos = _videos()
        single = [_row(metric, [metric], videos, goal=None) for metric in sorted(catalogue.metrics())]
        return [*single, _row(" + ".join(PAIR), PAIR, videos, goal=GOAL)]
    finally:
        torch.set_num_threads(before)


def _videos() -> tuple[Tensor, Tensor, Tensor]:
    """Blurred forecasts of blurred noise, and two frames before it: flat, textured and saturated areas."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(SEQUENCES * HORIZON, *SHAPE, generator=generator)
    target = (torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2) * 3 - 1).clamp(0, 1)
    forecast = torch.nn.functional.avg_pool2d(target, 3, stride=1, padding=1)
    forecast, target = (video.unflatten(0, (SEQUENCES, HORIZON)) for video in (forecast, target))
    return forecast, target, target[:, :2].flip(1)


def _row(name: str, metrics: Sequence[str], videos: tuple[Tensor, Tensor, Tensor], goal: float | None) -> Row:
    ours = partial(score, [videos], metrics, horizon=HORIZON, frame_shape=SHAPE)
    arrays = [video.numpy() for video in videos]

    def loop() -> list[list[float]]:
        return [reference(metric, *arrays) for metric in metrics]

    if not np.allclose(list(ours().per_step.values()), loop(), rtol=1e-6, atol=1e-6):
        raise AssertionError(f"{name}: evaluator and loop differ, so their times cannot be compared")
    mine, theirs, ratio = paired(ours, loop)
    frames = SEQUENCES * HORIZON
    return Row(
        name=f"metric {name}",
        ours=f"{frames / mine:,.0f} frames/s",
        reference=f"{frames / theirs:,.0f} frames/s ({'NumPy' if set(metrics) <= NUMPY else 'scikit-image'} loop)",
        figure=ratio,
        unit="×",
        goal=f"≥ {goal} ×" if goal else "",
        meets=ratio >= goal if goal else None,
    )


# --- the same metrics, a frame at a time; the tests compare with them too ----------------------------------


def reference(metric: str, forecast: np.ndarray, target: np.ndarray, context: np.ndarray | None = None) -> list[float]:
    """The metric of (N, K, C, H, W) float32 videos at each step, free-running after the context (N, T, C, H, W)."""
    if metric in PER_SEQUENCE:
        told = [PER_SEQUENCE[metric](*video) for video in zip(forecast, target, context, strict=True)]
        return [float(value) for value in np.mean(told, axis=0)]
    if metric not in UNCLIPPED:
        forecast = forecast.clip(0, 1)
    steps = zip(forecast.swapaxes(0, 1), target.swapaxes(0, 1), strict=True)
    if metric in WHOLE_SET:
        return [float(WHOLE_SET[metric](p, y)) for p, y in steps]
    frame_value = PER_FRAME[metric]
    return [float(np.mean([frame_value(p, y) for p, y in zip(*step, strict=True)])) for step in steps]


def rounded(images: np.ndarray) -> np.ndarray:
    return np.rint(images * 255).astype(np.uint8)


def truncated(images: np.ndarray) -> np.ndarray:
    return (images * 255).astype(np.uint8)


def psnr(p: np.ndarray, y: np.ndarray) -> float:
    return peak_signal_noise_ratio(y.astype(np.float64), p.astype(np.float64), data_range=1.0)


def ssim(p: np.ndarray, y: np.ndarray, **settings: object) -> float:
    if p.dtype == np.float32:
        p, y = p.astype(np.float64), y.astype(np.float64)
    return structural_similarity(p, y, channel_axis=0, **settings)


def wrapped(p: np.ndarray, y: np.ndarray) -> float:
    """SimVP's PSNR: neither the difference nor its square leaves uint8."""
    return 10 * np.log10(255**2 / np.mean((truncated(p) - truncated(y)) ** 2))


def gradient_ratio(p: np.ndarray, y: np.ndarray) -> float:
    """Squared first differences of the forecast over those of the truth."""
    p, y = p.astype(np.float64), y.astype(np.float64)
    return sum(np.square(np.diff(p, axis=axis)).sum() for axis in (1, 2)) / sum(
        np.square(np.diff(y, axis=axis)).sum() for axis in (1, 2)
    )


def srvp_psnr(p: np.ndarray, y: np.ndarray) -> float:
    p, y = rounded(p), rounded(y)
    return peak_signal_noise_ratio(y, p, data_range=int(p.max()) - int(p.min()))


def srvp_ssim(p: np.ndarray, y: np.ndarray) -> float:
    """The window slides over the (sample, row, column) stack of each channel."""
    p, y = rounded(p), rounded(y)
    return structural_similarity(p, y, channel_axis=1, win_size=7, data_range=int(p.max()) - int(p.min()))


def changes(p: np.ndarray, y: np.ndarray, before: np.ndarray) -> list[float]:
    """What the forecast changes from one frame to the next, against what the truth does."""
    p, y = (np.concatenate([before[-1:], video]).astype(np.float64) for video in (p, y))
    return [np.mean(np.square((p[k] - p[k - 1]) - (y[k] - y[k - 1]))) for k in range(1, len(p))]


def where_still(p: np.ndarray, y: np.ndarray, before: np.ndarray) -> list[float]:
    still = np.ptp(np.concatenate([before, y]), axis=0) == 0
    return [np.square(a.astype(np.float64) - b)[still].mean() for a, b in zip(p, y, strict=True)]


def grey_excess(p: np.ndarray, y: np.ndarray) -> float:
    """How many more of the forecast's values than of the truth's are neither black nor white."""
    counted = [sum(0.1 < value < 0.9 for value in frame.ravel().tolist()) for frame in (p, y)]
    return max(0, counted[0] - counted[1]) / y.size


def level_on_digits(p: np.ndarray, y: np.ndarray) -> float:
    """The forecast where the truth is bright, weighed by nothing, over the truth there."""
    places = np.nonzero(y > 0.1)
    return np.sum(p[places], dtype=np.float64) / np.sum(y[places], dtype=np.float64)


def directions(p: np.ndarray, y: np.ndarray, before: np.ndarray) -> list[float]:
    said, came = (np.sign(video - before[-1]).astype(int) for video in (p, y))
    return [np.where(a * b == 0, 0.5, a == b).mean() for a, b in zip(said, came, strict=True)]


GAUSS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}

#: id → value of one frame (C, H, W).
PER_FRAME: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mse_pix01": mean_squared_error,
    "mse_sum01": lambda p, y: mean_squared_error(p, y) * p.size,
    "mse_sum01_raw": lambda p, y: mean_squared_error(p, y) * p.size,
    "mse_hw01": lambda p, y: mean_squared_error(p, y) * p[0].size,
    "mse_pix255u8": lambda p, y: mean_squared_error(rounded(p), rounded(y)),
    "mae_pix01": lambda p, y: np.abs(p - y).mean(dtype=np.float64),
    "mae_sum01": lambda p, y: np.abs(p - y).sum(dtype=np.float64),
    "mae_sum01_raw": lambda p, y: np.abs(p - y).sum(dtype=np.float64),
    "psnr_frame": psnr,
    "psnr_frame_u8": lambda p, y: peak_signal_noise_ratio(truncated(y), truncated(p)),
    "psnr_channel": lambda p, y: np.mean([psnr(a, b) for a, b in zip(p, y, strict=True)]),
    "psnr_wrap_u8": wrapped,
    "ssim_u8": lambda p, y: ssim(truncated(p), truncated(y)),
    "ssim_f1": partial(ssim, data_range=1.0),
    "ssim_f2": partial(ssim, data_range=2.0),
    "ssim_gauss": partial(ssim, **GAUSS),
    "sharpness": gradient_ratio,
    "grey_excess": grey_excess,
    "foreground_level": level_on_digits,
    "square_about_half": lambda p, y: np.var(p, dtype=np.float64) + (p.mean(dtype=np.float64) - 0.5) ** 2,
}
#: id → values of the steps of one sequence, from forecast and target (K, C, H, W) and context (T, C, H, W).
PER_SEQUENCE: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], list[float]]] = {
    "temporal_difference_error": changes,
    "static_error": where_still,
    "direction_accuracy": directions,
}
#: id → value of one step of the whole test set (N, C, H, W).
WHOLE_SET: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "psnr_of_mean": psnr,
    "psnr_srvp": srvp_psnr,
    "ssim_srvp": srvp_ssim,
}
UNCLIPPED = {
    "mse_pix01",
    "mse_sum01_raw",
    "mse_hw01",
    "mae_pix01",
    "mae_sum01_raw",
    "psnr_of_mean",
    "square_about_half",
}
NUMPY = {
    *PER_SEQUENCE,
    "mae_pix01",
    "mae_sum01",
    "mae_sum01_raw",
    "psnr_wrap_u8",
    "sharpness",
    "grey_excess",
    "foreground_level",
    "square_about_half",
}
