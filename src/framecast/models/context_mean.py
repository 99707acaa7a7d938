"""Context-mean baseline: every future frame equals the mean observed one, ŷ_j = (1/T) Σ_t x_t."""

from torch import Tensor

from framecast.models.base import Baseline


class ContextMean(Baseline):
    """ŷ_j = (1/T) Σ_t x_t for every j."""

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """(B, T, *frame) → (B, horizon, *frame)."""
        mean = context.mean(dim=1, keepdim=True)
        return mean.expand(-1, horizon, *[-1] * (mean.ndim - 2))
