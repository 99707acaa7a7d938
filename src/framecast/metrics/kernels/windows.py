"""Structural similarity over sliding windows.

With s = a + b and t = a − b, window means E and variances V, the usual

    SSIM = (2 μ_a μ_b + C₁)(2 s_ab + C₂) / ((μ_a² + μ_b² + C₁)(s_a² + s_b² + C₂)),   C₁ = (0.01 R)², C₂ = (0.03 R)²

is the product of a distance in brightness and one in structure, both 0 for equal images:

    SSIM = (1 − 2p)(1 − 2q),   p = E²t / (E²s + E²t + 2C₁),   q = Vt / (Vs + Vt + 2C₂),

which takes four window sums instead of five. The range R enters last, so conventions that differ in R share the sums.

Images stand as (*grid, P): windows slide over the grid, and P planes lie side by side in memory, so that every sum adds
long contiguous rows. Everything is float64, because the variances of bright flat areas are small differences.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A separable window: the same weights along every axis of the grid, ``unbiased`` variances or not."""

    weights: tuple[float, ...]
    unbiased: bool

    @property
    def radius(self) -> int:
        """Grid points lost at each border."""
        return len(self.weights) // 2

    def sums(self, image: Float64[Tensor, "*grid p"]) -> Float64[Tensor, "*inner p"]:
        """Weighted sums over every window that fits into the grid, one axis after the other."""
        for axis in range(image.ndim - 1):
            image = self._along(image, axis)
        return image

    def _along(self, image: Tensor, axis: int) -> Tensor:
        if set(self.weights) == {1.0}:
            return image.unfold(axis, len(self.weights), 1).sum(-1)
        extent = image.shape[axis] - 2 * self.radius
        shifted = [image.narrow(axis, offset, extent) for offset in range(len(self.weights))]
        total = shifted[0] * self.weights[0]
        for values, weight in zip(shifted[1:], self.weights[1:], strict=True):
            total.add_(values, alpha=weight)
        return total


def _gaussian_weights(radius: int, sigma: float) -> tuple[float, ...]:
    taps = [math.exp(-((offset / sigma) ** 2) / 2) for offset in range(-radius, radius + 1)]
    return tuple(tap / sum(taps) for tap in taps)


UNIFORM = Window((1.0,) * 7, unbiased=True)
GAUSSIAN = Window(_gaussian_weights(radius=5, sigma=1.5), unbiased=False)  # Wang et al., the inventors


@dataclass(frozen=True)
class Moments:
    """Window sums of P image pairs, (*inner, P), from which SSIM follows for any R.

    N is the sum of a window's weights; means are kept times N², variances times N: windows need no division.
    """

    mean_t: Tensor  #: N² E²t
    mean: Tensor  #: N² (E²s + E²t)
    variance_t: Tensor  #: N Vt
    variance: Tensor  #: N (Vs + Vt)
    count: float  #: N
    unbiased: bool

    def ssim(self, peak: float) -> Float64[Tensor, " p"]:
        """Mean of each plane's SSIM map for range R = ``peak``: 1 − 2 mean p − 2 mean q + 4 mean pq."""
        degrees = self.count - 1 if self.unbiased else self.count
        brightness = self.mean + 2 * (0.01 * peak) ** 2 * self.count**2
        structure = self.variance + 2 * (0.03 * peak) ** 2 * degrees
        p = torch.div(self.mean_t, brightness, out=brightness).flatten(0, -2)
        q = torch.div(self.variance_t, structure, out=structure).flatten(0, -2)
        one_sided = p.sum(0) + q.sum(0)
        return 1 + (4 * p.mul_(q).sum(0) - 2 * one_sided) / len(p)


def moments(first: Float[Tensor, "*grid p"], second: Float[Tensor, "*grid p"], window: Window) -> Moments:
    """Window sums over the positions where the window fits."""
    # In place wherever possible, as memory takes the time. Sums of two float32 fit float64, so t is a − b.
    s, t = (image.to(torch.float64, memory_format=torch.contiguous_format, copy=True) for image in (first, second))
    s.add_(t)
    torch.sub(s, t, alpha=2, out=t)
    count = sum(window.weights) ** (s.ndim - 1)
    mean_t = window.sums(t).square_()
    mean = window.sums(s).square_().add_(mean_t)
    t.square_()
    variance_t = window.sums(t).sub_(mean_t, alpha=1 / count)
    variance = window.sums(s.square_().add_(t)).sub_(mean, alpha=1 / count)
    return Moments(mean_t, mean, variance_t, variance, count, window.unbiased)


def mean_ssim_3d(slabs: Iterable[tuple[Float[Tensor, "s h w c"], Float[Tensor, "s h w c"]]], peak: float) -> float:
    """Mean SSIM of two stacks whose uniform 7 × 7 × 7 window also slides over their first axis.

    Consecutive slabs of a stack overlap by 6 images, so that every window position occurs once.
    """
    total, positions = 0.0, 0
    for first, second in slabs:
        centres = len(first) - 2 * UNIFORM.radius
        total += centres * float(moments(first, second, UNIFORM).ssim(peak).mean())
        positions += centres
    return total / positions
