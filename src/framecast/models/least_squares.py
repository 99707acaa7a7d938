"""Least-squares baseline for series: each future point is an affine function of the context.

    ŷ_j = w_j · [x_1 … x_T] + b_j,   (w_j, b_j) = argmin Σ_n (y_nj − ŷ_nj)²

It solves sines almost exactly, and on smoothed noise it reaches the best score a linear forecast can: the floor
printed beside every trained system.
"""

import torch
from torch import Tensor

from framecast.models.base import Baseline

FRAMES = "series"
FITS = ("observed == context",)  #: it is fitted to so many frames


class LeastSquares(Baseline):
    """Ordinary least squares from the flattened context to the flattened horizon, fitted on the training split."""

    coefficients: Tensor  #: (T·C + 1, K·C) float64, the last row being the intercept

    def __init__(self, frame_shape: tuple[int, ...]) -> None:
        super().__init__(frame_shape)
        self.register_buffer("coefficients", torch.empty(0, dtype=torch.float64))

    def fit(self, context: Tensor, target: Tensor) -> None:
        """Solve in float64: sines are nearly collinear, and float32 would lose the solution.

        On the CPU whatever the device, since only there LAPACK's rank-revealing driver exists.
        """
        design, wanted = _design(context).cpu(), target.flatten(1).double().cpu()
        self.coefficients = torch.linalg.lstsq(design, wanted, driver="gelsd").solution.to(context.device)

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """(B, T, C) → (B, horizon, C); the horizon may be at most the fitted one."""
        forecast = _design(context) @ self.coefficients
        return forecast.unflatten(1, (-1, *self.frame_shape))[:, :horizon].to(context.dtype)


def _design(context: Tensor) -> Tensor:
    """[x_1 … x_T, 1] per sequence: (N, T·C + 1) float64."""
    flat = context.flatten(1).double()
    return torch.cat([flat, flat.new_ones(len(flat), 1)], dim=1)
