"""Zero baseline: every future frame is black, ŷ_j = 0. On sparse images a hard one to beat in MSE."""

from torch import Tensor

from framecast.models.base import Baseline


class Zeros(Baseline):
    """ŷ_j = 0 for every j."""

    def forward(self, context: Tensor, horizon: int, teacher: Tensor | None = None) -> Tensor:
        """(B, T, *frame) → (B, horizon, *frame)."""
        return context.new_zeros(len(context), horizon, *self.frame_shape)
