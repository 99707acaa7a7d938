"""Binary cross-entropy of probabilities. SRVP and KARTAL train on it.

Grey targets (0 < y < 1) give a positive floor: the entropy of y.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

UNIT_RANGE = True  #: it is defined for forecasts in [0, 1] alone


def bce(
    forecast: Float[Tensor, "b k *frame"],
    target: Float[Tensor, "b k *frame"],
    *,
    clamp: Literal["log", "probability"] = "log",
) -> Float[Tensor, ""]:
    """−mean[y ln p + (1 − y) ln(1 − p)], in nats, for p and y in [0, 1].

    ``clamp="log"`` limits each logarithm to −100 (PyTorch, SRVP); ``clamp="probability"`` limits p to
    [1e-7, 1 − 1e-7] (Keras, KARTAL).

    Raises RuntimeError when p or y leaves [0, 1].
    """
    if clamp == "probability":
        forecast = forecast.clamp(1e-7, 1 - 1e-7)
    return functional.binary_cross_entropy(forecast, target)
