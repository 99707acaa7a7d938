"""Mean squared error: mean (p − y)² over every axis. PredRNN family, SimVP, COLEMAN."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def mse(forecast: Float[Tensor, "b k *frame"], target: Float[Tensor, "b k *frame"]) -> Float[Tensor, ""]:
    """mean (p − y)², in squared units of the data; [0, 1] for data in [0, 1]."""
    return functional.mse_loss(forecast, target)
