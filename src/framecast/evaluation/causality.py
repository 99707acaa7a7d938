"""Causality probe: does forecast step j depend on a frame that is not yet known when it is made?

Training hands over the true future frames 1 … K (``teacher``). Step j may read the context and frames 1 … j − 1, as
teacher forcing does; a dependence on frame j or a later one is a leak, and scores with it are worthless. A system that
runs freely reads no future frame at all.

First every step is asked whether anything *reaches* it: is it the same when frames j … K are NaN? Whatever arithmetic
connects a frame with a step shows, through a weight of zero (0 · NaN = NaN), a dead ReLU or a detached tensor as well;
so does a comparison with the frame, which NaN makes false. A step that stays the same to the last bit is causal.

A mask that multiplies by zero lets NaN through and nothing else, so a step that is reached is only a suspect. It is
asked twice more, under several draws of weights, from almost the model's own to entirely new ones of the same size, as
a trained network may come to have; what a zero initialisation or a dead ReLU hides in one draw shows in another:

* *change*: is it another one when frames j … K are?
* *gradient*: does ∂(v · step j) / ∂(frames j … K) differ from zero, v random? It sees effects far below the rounding
  of a forecast, and no others than differentiable ones.

A suspect without either is cleared, provided that some draw would have shown it: not if no frame at all changes the
step, as when a saturated output hides everything.

The model is asked as it is evaluated: in training, batch normalisation mixes the steps of a batch in every system.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call

from framecast.errors import UserError
from framecast.models.base import Forecaster

DRAWS = 8
NEW_SIZE = 0.1  #: standard deviation of new weights in the place of those that are all zero


def first_leak(model: Forecaster, context: Tensor, horizon: int, *, seed: int = 0) -> tuple[int, int] | None:
    """The first (forecast step, future frame it saw), both counted from 1, or None for a causal system.

    ``context`` is (B, T, *frame), whose values hardly matter. The model is left as it was, and so are the random
    numbers of the caller. It costs K + 1 forecasts without gradient, and about as much again for a suspect.

    Raises UserError when the forecast is finite under no draw of weights.
    """
    with _as_evaluated(model, context.device):
        draws = (_Draw(model, context, horizon, seed, number) for number in range(DRAWS))
        finite = (draw for draw in draws if draw.is_finite)
        first = next(finite, None)
        if first is None:
            raise UserError(
                f"causality: found forecasts that are not finite under each of {DRAWS} draws of weights; "
                "allowed: a system whose forecasts can be looked at"
            )
        found: tuple[int, int] | None = None
        suspects = []
        for step in range(1, horizon + 1):
            if first.is_reached(step, horizon):
                suspects.append(step)
                if found := first.leak_at(step):
                    break
        hidden = {step for step in suspects if not first.has_signal(step)}
        for draw in finite:
            if not (suspects := _before(found, suspects)):
                break
            leaks = [leak for step in suspects if (leak := draw.leak_at(step))]
            found = min([*leaks, found] if found else leaks, default=None)
            hidden = {step for step in hidden if not draw.has_signal(step)}
        for step in _before(found, suspects):
            if step in hidden:
                return step, next(last for last in range(step, horizon + 1) if first.is_reached(step, last))
    return found


def _before(found: tuple[int, int] | None, suspects: list[int]) -> list[int]:
    """The suspects whose leak could come before the one that was found."""
    return [step for step in suspects if found is None or (step, step) < found]


def in_words(leak: tuple[int, int] | None, *, replication: bool = False) -> str:
    """A verdict as a clause: which step sees which frame, and what a mark as replication makes of it."""
    if leak is None:
        mark = ", so it needs no `replication: true`" if replication else ""
        return f"causal: every forecast step depends only on frames that are known before it{mark}"
    step, frame = leak
    later = {0: "the very frame it forecasts", 1: "one frame after the one it forecasts"}
    place = later.get(frame - step, f"{frame - step} frames after the one it forecasts")
    mark = "; trained only as a named replication" if replication else ""
    return f"leaky: forecast step {step} sees future frame {frame}, {place}{mark}"


class _Draw:
    """A model under one draw of weights and frames, and what its forecasts depend on."""

    def __init__(self, model: Forecaster, context: Tensor, horizon: int, seed: int, number: int) -> None:
        self.model, self.horizon, self.seed = model, horizon, seed
        self.context, shape = context.detach(), (len(context), horizon, *context.shape[2:])
        self._generator = torch.Generator().manual_seed(seed * DRAWS + number)
        self._weights = _new_weights(model, (number + 1) / DRAWS, self._generator)
        self._teacher, self._other = (self._like(context, torch.rand, shape) for _ in range(2))
        self._other_context = self._like(context, torch.rand, context.shape)

    @cached_property
    def is_finite(self) -> bool:
        """Whether anything can be told from this draw."""
        return bool(self._forecast.isfinite().all())

    def is_reached(self, step: int, last: int) -> bool:
        """Whether the forecast of ``step`` is another one when frames ``step`` … ``last`` are NaN."""
        teacher = self._teacher.clone()
        teacher[:, step - 1 : last] = torch.nan
        try:
            return self._differs(self._run(self.context, teacher), step)
        except IndexError:  # NaN is nothing to look up in a table
            return True

    def leak_at(self, step: int) -> tuple[int, int] | None:
        """(step, the first frame of which it shows an effect), or None where it shows none."""
        frames = [frame for frame in (self.changed_by(step), self.gradient_from(step)) if frame]
        return (step, min(frames)) if frames else None

    def changed_by(self, step: int) -> int | None:
        """The first frame from ``step`` on up to which other frames change the forecast of ``step``."""
        if not self._changes(step, self.horizon):
            return None
        return next(last for last in range(step, self.horizon + 1) if self._changes(step, last))

    def gradient_from(self, step: int) -> int | None:
        """The first frame from ``step`` on from which a gradient comes."""
        teacher, forecast = self._graph
        if not forecast.requires_grad:
            return None
        direction = torch.zeros_like(forecast)
        direction[:, step - 1] = self._like(forecast, torch.randn, forecast[:, step - 1].shape)
        (gradient,) = torch.autograd.grad(forecast, teacher, direction, retain_graph=True, allow_unused=True)
        if gradient is None or not gradient.isfinite().all():
            return None
        seen = (gradient != 0).transpose(0, 1).flatten(1).any(1)[step - 1 :].nonzero()
        return step + int(seen[0]) if len(seen) else None

    def has_signal(self, step: int) -> bool:
        """Whether other frames altogether change the forecast of ``step``."""
        return self._differs(self._elsewhere, step)

    def _differs(self, forecast: Tensor, step: int) -> bool:
        return not torch.equal(forecast[:, step - 1], self._forecast[:, step - 1])

    def _changes(self, step: int, last: int) -> bool:
        teacher = self._teacher.clone()
        teacher[:, step - 1 : last] = self._other[:, step - 1 : last]
        return self._differs(self._run(self.context, teacher), step)

    @cached_property
    def _forecast(self) -> Tensor:
        return self._run(self.context, self._teacher)

    @cached_property
    def _elsewhere(self) -> Tensor:
        return self._run(self._other_context, self._other)

    @cached_property
    def _graph(self) -> tuple[Tensor, Tensor]:
        teacher = self._teacher.clone().requires_grad_()
        with torch.enable_grad():
            return teacher, self._run(self.context, teacher)

    def _run(self, context: Tensor, teacher: Tensor) -> Tensor:
        torch.manual_seed(self.seed)  # of a system that draws while it forecasts, always the same forecast
        forecast: Tensor = functional_call(self.model, self._weights, (context, self.horizon, teacher))
        return forecast

    def _like(self, one: Tensor, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        return draw(shape, generator=self._generator).to(one)


def _new_weights(model: nn.Module, share: float, generator: torch.Generator) -> dict[str, Tensor]:
    """√(1 − share²) · weight + share · noise of the weight's size, for every parameter; likewise the statistics of
    batch normalisation, whose variances stay positive. Other buffers may be masks, and stay.
    """
    drawn = {}
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator).to(weight)
        size = weight.detach().square().mean().sqrt()
        noise *= size if size > 0 else NEW_SIZE
        drawn[name] = (1 - share**2) ** 0.5 * weight.detach() + share * noise
    for name, value in model.named_buffers():
        noise = torch.randn(value.shape, generator=generator).to(value.device)
        if name.endswith("running_mean"):
            drawn[name] = value + share * noise
        elif name.endswith("running_var"):
            drawn[name] = value * (share * noise).exp()
    return drawn


@contextmanager
def _as_evaluated(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode without gradients, as far as possible with exact zeros where nothing is seen.

    cuDNN may convolve by Fourier transforms, which round what should be zero; our own randomness is not the caller's.
    """
    training = {module: module.training for module in model.modules()}
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
        model.eval()
        try:
            yield
        finally:
            for module, was in training.items():
                module.training = was
