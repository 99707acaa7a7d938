"""Copy-the-trend baseline for series: the last observed change goes on, ŷ_j = clip(x_T + j (x_T − x_{T−1}), 0, 1).

Its direction from the last observed point is that of the last change at every step, which is what a forecast of prices
has to beat; the range that all series share keeps its error one that can be drawn beside others.
"""

import torch
from torch import Tensor

from framecast.models.base import Baseline

FRAMES = "series"


class CopyTrend(Baseline):
    """ŷ_j = clip(x_T + j (x_T − x_{T−1}), 0, 1); of a single point, that point."""

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """(B, T, C) → (B, horizon, C)."""
        last, before = context[:, -1:], context[:, -2:][:, :1]
        steps = torch.arange(1, horizon + 1, device=context.device, dtype=context.dtype)
        return (last + steps[:, None] * (last - before)).clamp(0, 1)
