"""Copy-last baseline: every future frame equals the last observed one, ŷ_j = x_T."""

from torch import Tensor

from framecast.models.base import Baseline


class CopyLast(Baseline):
    """ŷ_j = x_T for every j: the persistence forecast."""

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """(B, T, *frame) → (B, horizon, *frame)."""
        last = context[:, -1:]
        return last.expand(-1, horizon, *[-1] * (last.ndim - 2))
