"""Optimisers, learning-rate schedules and gradient clipping, by their names in ``params.yaml``.

A schedule, of the learning rate and of the momentum beside it, is a function of the step and, for ``plateau``, of the
validation losses before it, which the history holds anyway. So it has no state to save.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd


class Optimizer:
    """Adam(β₁, β₂), or RMSprop or SGD with momentum β₁; weight decay is L2, added to the gradient.

    The arithmetic is PyTorch's, through its functional optimisers; the moments are plain tensors in our hands, which
    is all that a checkpoint needs. (The classes would also import PyTorch's compiler: a second for every job.)
    """

    MOMENTS: ClassVar = {
        "adam": ("exp_avg", "exp_avg_sq"),
        "rmsprop": ("square_avg", "momentum_buffer"),
        "sgd": ("momentum_buffer",),
    }

    def __init__(
        self, name: str, parameters: Sequence[nn.Parameter], betas: tuple[float, float], weight_decay: float
    ) -> None:
        self.name, self.parameters, self.betas, self.weight_decay = name, parameters, betas, weight_decay
        self.moments = {moment: [torch.zeros_like(p) for p in parameters] for moment in self.MOMENTS[name]}
        self.steps = [torch.zeros((), device=p.device) for p in parameters]

    @torch.no_grad()
    def step(self, learning_rate: float, momentum: float | None = None) -> None:
        """Move every parameter that has a gradient; ``momentum`` stands in for β₁ in this step."""
        beta1 = self.betas[0] if momentum is None else momentum
        moving = [index for index, p in enumerate(self.parameters) if p.grad is not None]
        parameters: list[Any] = [self.parameters[index] for index in moving]
        gradients: list[Any] = [p.grad for p in parameters]
        moments: list[Any] = [[tensors[index] for index in moving] for tensors in self.moments.values()]
        steps = [self.steps[index] for index in moving]
        options: dict[str, Any] = {"lr": learning_rate, "weight_decay": self.weight_decay, "maximize": False}
        if self.name == "adam":
            options |= {"beta1": beta1, "beta2": self.betas[1], "eps": 1e-8, "amsgrad": False, "fused": True}
            adam(parameters, gradients, moments[0], moments[1], [], steps, **options)
        elif self.name == "rmsprop":
            options |= {"alpha": 0.99, "eps": 1e-8, "momentum": beta1, "centered": False, "foreach": True}
            rmsprop(parameters, gradients, moments[0], [], moments[1], steps, **options)
        else:
            options |= {"momentum": beta1, "dampening": 0.0, "nesterov": False, "foreach": True}
            sgd(parameters, gradients, moments[0], **options)

    def tensors(self) -> dict[str, Tensor]:
        """The whole state, by name."""
        named = {f"{moment}.{i}": t for moment, tensors in self.moments.items() for i, t in enumerate(tensors)}
        return named | {f"steps.{i}": t for i, t in enumerate(self.steps)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a state that ``tensors`` gave."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])


def learning_rate(schedule: str, peak: float, step: int, steps: int) -> float:
    """The learning rate of step 0 … steps−1 under a schedule that depends on the step alone.

    constant   the peak
    one_cycle  PyTorch's defaults: cosine from peak/25 to the peak over the first 30 %, then to peak/250 000
    """
    if schedule == "constant":
        return peak
    return _one_cycle(peak / 25, peak, peak / 25e4, step, steps)


def momentum(schedule: str, beta1: float, step: int, steps: int) -> float:
    """β₁ of step 0 … steps−1: the momentum of SGD and RMSprop, the decay of Adam's first moment.

    one_cycle  PyTorch's defaults, for whichever optimiser: cosine from 0.95 to 0.85 while the learning rate rises, and
               back to 0.95 while it falls; the recipe's own β₁ is not read
    others     ``beta1``, the recipe's
    """
    return _one_cycle(0.95, 0.85, 0.95, step, steps) if schedule == "one_cycle" else beta1


def cosine(peak: float, epoch: int, epochs: int, floor: float) -> float:
    """The learning rate of epoch 0 … epochs−1, the same for all of its steps: PyTorch's ``CosineAnnealingLR``.

    floor + (peak − floor) · ½ (1 + cos(π e / E))
    """
    return _cosine(peak, floor, epoch / epochs)


def plateau(
    peak: float, losses: Iterable[float], *, factor: float, patience: int, floor: float, min_delta: float
) -> float:
    """The learning rate after validations with these ``losses``, counted as Keras' ``ReduceLROnPlateau`` does.

    A loss L below best − ``min_delta`` becomes the best, and the waiting starts again at 0. Any other is waited for:
    the ``patience``-th of them in a row multiplies the rate by ``factor``, down to ``floor`` and no further, and the
    waiting starts again at 0; the best stays what it is. Cooldown is 0: the next loss counts already.

    ``min_delta`` is in the units of the loss (Keras' default: 1e-4), so slow progress may pass for none. Early stopping
    and the selection of weights have no such threshold: there, any lower loss is the best. PyTorch's class of the same
    name waits for one loss more (its patience p is p + 1 here). A peak below the floor is left alone.
    """
    rate, best, waited = peak, math.inf, 0
    for loss in losses:
        if loss < best - min_delta:
            best, waited = loss, 0
        else:
            waited += 1
        if waited >= patience and rate > floor:
            rate, waited = max(rate * factor, floor), 0
    return rate


def _one_cycle(first: float, turn: float, last: float, step: int, steps: int) -> float:
    """By half a cosine to what it is at 30 % of the steps, and by another half to what it is in the last one."""
    turned = 0.3 * steps - 1
    if step <= turned:
        return _cosine(first, turn, step / turned)
    return _cosine(turn, last, (step - turned) / (steps - 1 - turned))


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
