"""A training step of each recurrent system at the paper's size as a fraction of what its convolutions reach alone.

Published widths on 64×64 frames of Moving MNIST, ten frames after ten, a batch of one, on one core, in seconds of its
time, which others on the machine do not lengthen. A whole step takes up to minutes, so a shorter one is measured, of
fewer frames, and what a step does once whatever its length (norms of the gradients, the optimiser) is weighed as in a
whole one:

    fraction = s·a / (s·(t − u) + u)      s = time steps of a whole step / of the short one
                                          a, t, u = seconds of the convolutions alone, of the short step, of the update

The convolutions alone are the very ones that the short step asks for (``training_step.py``). The peak of memory is that
of a whole step, counted on tensors without content: weights, gradients and moments of Adam, what the backward pass
needs, and what lives for a moment, without what kernels take for themselves.
"""

import statistics
import time
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.base import Row, paired, seconds
from benchmarks.training_step import as_in_a_job, convolutions
from framecast.data.base import StoredSplit
from framecast.losses.base import WeightedLoss
from framecast.models.base import Forecaster
from framecast.study import catalogue
from framecast.study.params import Training
from framecast.training import optimizers
from framecast.training.loop import Trainer

CPU = torch.device("cpu")
FRAME, DEPTH = (1, 64, 64), 4
WHOLE = (10, 10)  #: context and horizon, as published
GOAL = 0.80


@dataclass(frozen=True)
class System:
    """A kind and its arguments, the frames of the short step, and how many time steps so many frames are."""

    name: str
    kind: str
    short: tuple[int, int]
    last_is_read: bool = False  #: an encoder and a forecaster make T + K steps, one loop T + K − 1

    def steps(self, context: int, horizon: int) -> int:
        """Time steps of a training step."""
        return context + horizon - (not self.last_is_read)

    def model(self, context: int) -> Forecaster:
        """The published network."""
        arguments = {"context": context} if "context" in catalogue.given(self.kind) else {}
        model: Forecaster = catalogue.load("models", self.kind)(FRAME, depth=DEPTH, **arguments)
        return model


SYSTEMS = (
    System("ConvLSTM-S", "convlstm_s", (2, 2)),
    System("PredRNN", "predrnn", (2, 2)),
    System("PredRNN++", "predrnn_pp", (2, 2)),
    System("MIM", "mim", (2, 2)),
    System("ConvGRU", "convgru", (1, 1), last_is_read=True),
    System("SRVP", "srvp", (1, 1), last_is_read=True),
)


def rows() -> list[Row]:
    """Time and memory of each system."""
    with as_in_a_job():
        return [row for system in SYSTEMS for row in (_compared(system), _peak(system))]


def _compared(system: System) -> Row:
    context, horizon = system.short
    torch.manual_seed(0)
    trainer = _trainer(system, context, horizon)
    alone, _ = convolutions(trainer)
    step, convolved, ratio = paired(trainer._step, alone, repeats=3, clock=time.process_time)
    longer = system.steps(*WHOLE) / system.steps(context, horizon)
    once = _update(trainer) / step
    fraction = longer * ratio / (longer * (1 - once) + once)
    return Row(
        f"{system.name} step at the paper's size",
        f"{step:.2f} s for {system.steps(context, horizon)} of {system.steps(*WHOLE)} time steps",
        f"{convolved:.2f} s (its convolutions alone)",
        100 * fraction,
        "%",
        f"≥ {GOAL:.0%}",
        fraction >= GOAL,
    )


def _trainer(system: System, context: int, horizon: int) -> Trainer:
    recipe = Training(epochs=10**6, batch_size=1, learning_rate=1e-4)
    split = StoredSplit(torch.rand(2, context + horizon, *FRAME), CPU)
    loss, model = WeightedLoss({"mse": 1.0}), system.model(context)
    return Trainer(system.name, model, loss, split, split, recipe, context=context, seed=0, device=CPU)


def _update(trainer: Trainer) -> float:
    """Seconds of what follows the backward pass; the gradients of the last step still lie there."""

    def update() -> None:
        optimizers.gradient_norms(trainer.parameters).sum().item()
        trainer.optimizer.step(1e-4)

    return statistics.median(seconds(update, time.process_time) for _ in range(3))


class _Living(TorchDispatchMode):
    """Bytes of the tensors that are alive at once, at most."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._born(tensor.untyped_storage())
        return made

    def _born(self, storage: torch.UntypedStorage) -> None:
        if (key := storage._cdata) in self.alive:
            return
        self.alive[key] = storage.nbytes()
        self.now += self.alive[key]
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._died, key)

    def _died(self, key: int) -> None:
        self.now -= self.alive.pop(key)


def _peak(system: System) -> Row:
    context, horizon = WHOLE
    with FakeTensorMode(), _Living() as living:
        model = system.model(context)
        moments = [torch.empty_like(p) for p in model.parameters() for _ in range(2)]
        frames = torch.empty(1, context + horizon, *FRAME)
        forecast, target, _ = model.lesson(frames, frames, context)
        (forecast - target).square().mean().backward()
    assert moments
    return Row(
        f"{system.name} step at the paper's size, peak memory",
        f"{living.peak / 2**20:.0f} MiB, of them {16 * _count(model) / 2**20:.0f} weights, gradients and moments",
        "",
        living.peak / 2**20,
        "MiB",
        "",
        None,
    )


def _count(model: Forecaster) -> int:
    return sum(p.numel() for p in model.parameters())
