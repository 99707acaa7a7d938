"""Errors per frame, and their expression in decibels."""

import torch
from jaxtyping import Float64
from torch import Tensor

from framecast.metrics.base import Pair

#: Perfect frames have infinite PSNR; the literature's tables need a number. −10 log₁₀ 1e-10 = 100 dB.
FLOOR = 1e-10
CAP = 100.0


def mean_square(pair: Pair) -> Float64[Tensor, "b k"]:
    """A = (1/n) Σ (p − y)² of each frame, in squared units of the pair."""
    error = (pair.forecast - pair.target).flatten(2)
    return torch.linalg.vector_norm(error, dim=-1, dtype=torch.float64).square() / error.shape[-1]


def mean_absolute(pair: Pair) -> Float64[Tensor, "b k"]:
    """(1/n) Σ |p − y| of each frame, in units of the pair."""
    return (pair.forecast - pair.target).double().abs_().flatten(2).mean(-1)


def decibels(mean_square: Float64[Tensor, "*any"], peak: float | Tensor = 1.0) -> Float64[Tensor, "*any"]:
    """PSNR = 10 log₁₀(R² / A) in dB for peak R, at most 100 dB."""
    return -10 * torch.log10((mean_square / peak**2).clamp_min(FLOOR))
