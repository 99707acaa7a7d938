"""Mean absolute error: mean |p − y| over every axis. MIMO-VP trains on 10·MSE + L1."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def l1(forecast: Float[Tensor, "b k *frame"], target: Float[Tensor, "b k *frame"]) -> Float[Tensor, ""]:
    """mean |p − y|, in units of the data; [0, 1] for data in [0, 1]."""
    return functional.l1_loss(forecast, target)
