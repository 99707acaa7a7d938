"""Structural similarity over sliding windows.

With s = a + b and t = a − b, window means E and variances V, the usual

    SSIM = (2 μ_a μ_b + C₁)(2 s_ab + C₂) / ((μ_a² + μ_b² + C₁)(s_a² + s_b² + C₂)),   C₁ = (0.01 R)², C₂ = (0.03 R)²

becomes a form with four window sums instead of five, exactly 1 for equal images:

    SSIM = (E²s − E²t + 2C₁)(Vs − Vt + 2C₂) / ((E²s + E²t + 2C₁)(Vs + Vt + 2C₂)).

Images stand as (*grid, P): windows slide over the grid, and P planes lie side by side in memory, so that every sum adds
long contiguous rows. Everything is float64, because the variances of bright flat areas are small differences.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor

#: Grid points of a tile on the CPU: the float64 buffers stay in the second-level cache of two cores.
TILE = 2**16


@dataclass(frozen=True)
class Window:
    """A separable window: the same weights along every axis of the grid, ``unbiased`` variances or not."""

    weights: tuple[float, ...]
    unbiased: bool

    @property
    def radius(self) -> int:
        """Grid points lost at each border."""
        return len(self.weights) // 2

    def along(self, values: Tensor, axis: int, out: Tensor) -> Tensor:
        """Weighted sums of the windows that fit along one axis."""
        size = len(self.weights)
        if set(self.weights) == {1.0}:
            return torch.sum(values.unfold(axis, size, 1), -1, out=out)
        out.zero_()
        for offset, weight in enumerate(self.weights):
            out.add_(values.narrow(axis, offset, out.shape[axis]), alpha=weight)
        return out


UNIFORM = Window((1.0,) * 7, unbiased=True)


@cache
def gaussian() -> Window:
    """Wang et al.'s window: 11 taps of a Gaussian with σ = 1.5, weights adding to 1, biased variances."""
    taps = [math.exp(-((offset / 1.5) ** 2) / 2) for offset in range(-5, 6)]
    return Window(tuple(tap / sum(taps) for tap in taps), unbiased=False)


class Similarity:
    """Sums SSIM maps of image pairs on one grid; holds its buffers, as allocating them costs more than filling them.

    ``grid`` is the images' extent along every axis the window slides over, ``planes`` the number of images.
    """

    def __init__(self, grid: tuple[int, ...], planes: int, window: Window, device: torch.device) -> None:
        self.window = window
        self.count = sum(window.weights) ** len(grid)
        inner = tuple(extent - 2 * window.radius for extent in grid)

        def empty(*extents: int) -> Tensor:
            return torch.empty(*extents, planes, dtype=torch.float64, device=device)

        self.images = empty(4, *grid)  # s, t, s², t²
        self.sums = [empty(4, *inner[: axis + 1], *grid[axis + 1 :]) for axis in range(len(grid))]
        self.work = [empty(*inner) for _ in range(4)]

    def __call__(
        self, first: Float[Tensor, "*grid p"], second: Float[Tensor, "*grid p"], peaks: Sequence[float]
    ) -> Float64[Tensor, "r p"]:
        """Sum of each plane's SSIM map over the positions where the window fits, for each peak R."""
        means, variances = self._moments(first, second)  # N² E²s, N² E²t and N Vs, N Vt
        mean_difference = torch.sub(*means, out=self.work[0])
        variance_difference = torch.sub(*variances, out=self.work[1])
        mean_sum, variance_sum = means[0].add_(means[1]), variances[0].add_(variances[1])
        numerator, denominator, factor = *self.work[2:], means[1]
        sums = []
        for peak in peaks:
            c1, c2 = self._constants(peak)
            torch.add(mean_difference, c1, out=numerator).mul_(torch.add(variance_difference, c2, out=factor))
            torch.add(mean_sum, c1, out=denominator).mul_(torch.add(variance_sum, c2, out=factor))
            sums.append(numerator.div_(denominator).flatten(0, -2).sum(0))
        return torch.stack(sums)

    def _moments(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Squared means times N² and biased variances times N, of s and t; N is the sum of the window's weights."""
        s, t = self.images[:2]
        s.copy_(first).add_(t.copy_(second))
        torch.sub(s, t, alpha=2, out=t)
        torch.mul(self.images[:2], self.images[:2], out=self.images[2:])
        sums = self.images
        for axis, out in enumerate(self.sums, start=1):
            sums = self.window.along(sums, axis, out)
        means, squares = sums[:2].mul_(sums[:2]), sums[2:]
        return means, torch.sub(squares, means, alpha=1 / self.count, out=squares)

    def _constants(self, peak: float) -> tuple[float, float]:
        """2C₁ N² for the means; 2C₂ (N − 1), or 2C₂ N where the covariance is biased, for the variances."""
        degrees = self.count - 1 if self.window.unbiased else self.count
        return 2 * (0.01 * peak) ** 2 * self.count**2, 2 * (0.03 * peak) ** 2 * degrees


def mean_ssim(
    first: Float[Tensor, "p h w"], second: Float[Tensor, "p h w"], window: Window, peaks: Sequence[float]
) -> Float64[Tensor, "r p"]:
    """Mean SSIM of P image pairs, the border of half a window left out, for each peak R: (R, P).

    Several peaks share the window sums. Images are taken a few at a time, so that their sums stay in the cache.
    """
    planes, height, width = first.shape
    tile = min(planes, max(1, TILE // (height * width))) if first.device.type == "cpu" else planes
    positions = (height - 2 * window.radius) * (width - 2 * window.radius)
    similarity = Similarity((height, width), tile, window, first.device)
    sums = torch.empty(len(peaks), planes, dtype=torch.float64, device=first.device)
    for start in range(0, planes, tile):
        if start + tile > planes:
            similarity = Similarity((height, width), planes - start, window, first.device)
        chosen = slice(start, start + tile)
        sums[:, chosen] = similarity(first[chosen].permute(1, 2, 0), second[chosen].permute(1, 2, 0), peaks)
    return sums / positions


def mean_ssim_3d(slabs: Iterable[tuple[Float[Tensor, "s h w c"], Float[Tensor, "s h w c"]]], peak: float) -> float:
    """Mean SSIM of two stacks whose uniform 7 × 7 × 7 window also slides over their first axis.

    Consecutive slabs of a stack overlap by 6 images, so that every window position occurs once.
    """
    total, count = 0.0, 0
    for first, second in slabs:
        *grid, planes = first.shape
        sums = Similarity(tuple(grid), planes, UNIFORM, first.device)(first, second, [peak])
        total += float(sums.sum())
        count += planes * math.prod(extent - 2 * UNIFORM.radius for extent in grid)
    return total / count
