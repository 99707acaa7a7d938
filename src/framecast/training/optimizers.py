"""Optimisers, learning-rate schedules and gradient clipping, by their names in ``params.yaml``.

A schedule is a function of the step alone, so it has no state to save.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


def optimizer(
    name: str, parameters: Iterable[nn.Parameter], learning_rate: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.Optimizer:
    """Adam(β₁, β₂), RMSprop or SGD (both with momentum β₁); weight decay is L2, added to the gradient."""
    if name == "adam":
        return torch.optim.Adam(parameters, learning_rate, betas, weight_decay=weight_decay, fused=True)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, learning_rate, momentum=betas[0], weight_decay=weight_decay)
    return torch.optim.SGD(parameters, learning_rate, momentum=betas[0], weight_decay=weight_decay)


def learning_rate(schedule: str, peak: float, step: int, steps: int) -> float:
    """The learning rate of step 0 … steps−1.

    constant   the peak
    cosine     peak · ½ (1 + cos(π s / S)), from the peak to 0
    one_cycle  PyTorch's defaults: cosine from peak/25 to the peak over the first 30 %, then to peak/250 000
    """
    if schedule == "constant":
        return peak
    if schedule == "cosine":
        return _cosine(peak, 0.0, step / steps)
    turn = 0.3 * steps - 1
    if step <= turn:
        return _cosine(peak / 25, peak, step / turn)
    return _cosine(peak, peak / 25e4, (step - turn) / (steps - 1 - turn))


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * part))


def gradient_norms(parameters: Sequence[nn.Parameter]) -> Tensor:
    """ℓ2 norm of each parameter's gradient, (P,) float32; zero where there is none."""
    gradients = [p.new_zeros(()) if p.grad is None else p.grad for p in parameters]
    return torch.stack(torch._foreach_norm(gradients))


def clip(
    parameters: Sequence[nn.Parameter], norms: Tensor, whole: float | None = None, each: float | None = None
) -> None:
    """Scale gradients down to a norm: of each tensor by itself (Keras ``clipnorm``), then of all together.

    The two are different rules; either may be off (None). ``norms`` are those of ``gradient_norms``.
    """
    scale = torch.ones_like(norms)
    if each is not None:
        scale = (each / norms.clamp_min(1e-12)).clamp_max(1)
    if whole is not None:
        total = (norms * scale).square().sum().sqrt()
        scale = scale * (whole / total.clamp_min(1e-12)).clamp_max(1)
    if each is not None or whole is not None:
        pairs = [(p.grad, factor) for p, factor in zip(parameters, scale, strict=True) if p.grad is not None]
        torch._foreach_mul_([grad for grad, _ in pairs], [factor for _, factor in pairs])
