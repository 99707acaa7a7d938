"""Causality probe: does forecast t depend on a frame that is not yet known at t?

The gradient of forecast j with respect to the true future frames that training hands over (``teacher``) is taken
frame by frame. A system may use frames before j (teacher forcing); a non-zero gradient from frame j or later is a
leak, and its scores would be worthless.
"""

import torch
from torch import Tensor

from framecast.models.base import Forecaster


def first_leak(model: Forecaster, context: Tensor, horizon: int, *, seed: int = 0) -> tuple[int, int] | None:
    """The first (forecast step, future frame it saw), both counted from 1, or None for a causal system.

    ``context`` is (B, T, *frame); the teacher is uniform noise, so that no gradient vanishes by accident.
    """
    generator = torch.Generator().manual_seed(seed)
    teacher = torch.rand(len(context), horizon, *context.shape[2:], generator=generator).to(context.device)
    teacher.requires_grad_()
    with torch.enable_grad():
        forecast = model(context, horizon, teacher)
    if not forecast.requires_grad:
        return None
    for step in range(horizon):
        (gradient,) = torch.autograd.grad(forecast[:, step].sum(), teacher, retain_graph=True, allow_unused=True)
        if gradient is None:
            return None
        seen = gradient[:, step:].abs().flatten(2).sum(dim=(0, 2)).nonzero()
        if len(seen):
            return step + 1, step + 1 + int(seen[0])
    return None
