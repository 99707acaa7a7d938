"""A ConvLSTM training step as a fraction of what its own convolutions reach alone.

The step is the training loop's own: batch, forward, loss, backward, the check for finite gradients, optimiser. The
reference runs the very convolutions that such a step asks for — same weights, inputs of the same shape, type and
memory layout, forward and backward, the 3-D head included — and nothing between them.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.base import Row, paired
from framecast.data.base import StoredSplit
from framecast.losses.base import WeightedLoss
from framecast.models.seq2seq_convlstm import Seq2SeqConvLSTM
from framecast.study.params import Training
from framecast.training.loop import Trainer
from framecast.training.seeding import be_deterministic

HIDDEN, SIZE, DEPTH = 64, 64, 1  # as published
BATCH, CONTEXT, HORIZON = 2, 3, 3  # shorter and smaller than published: a step is a repetition of its cells
GOAL = 0.85
RECIPES = {
    "float32": {},
    "bf16": {"precision": "bf16"},
    "bf16, channels last": {"precision": "bf16"},
    "bf16, compiled": {"precision": "bf16", "compile": "default"},
}


def rows() -> list[Row]:
    """Every recipe on the CPU, and on the GPU where there is one; compiled only where there is a C++ compiler."""
    devices = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    with as_in_a_job():
        return [row for device in devices for name in _runnable() for row in _compared(name, device)]


@contextmanager
def as_in_a_job() -> Iterator[None]:
    """One thread and deterministic kernels, as a training job has them."""
    threads = torch.get_num_threads()
    be_deterministic(threads=1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode("default")


def _runnable() -> list[str]:
    return [name for name, recipe in RECIPES.items() if "compile" not in recipe or shutil.which("g++")]


def _compared(name: str, device: torch.device) -> list[Row]:
    trainer = _trainer(RECIPES[name], device, channels_last="channels last" in name)
    alone, operations = convolutions(trainer)
    step, convolved, fraction = paired(_finished(trainer._step, device), _finished(alone, device))
    label = f"ConvLSTM step, {device.type}, {name}"
    compared = Row(
        label,
        f"{step * 1e3:.1f} ms/step",
        f"{convolved * 1e3:.1f} ms (its convolutions alone)",
        100 * fraction,
        "%",
        f"≥ {GOAL:.0%}",
        fraction >= GOAL,
    )
    if device.type == "cpu":
        return [compared]
    return [compared, _ceiling(label, operations / step, _matmul(trainer, device))]


def _trainer(changes: dict[str, object], device: torch.device, *, channels_last: bool) -> Trainer:
    torch.manual_seed(0)
    recipe = Training(epochs=10**6, batch_size=BATCH, learning_rate=1e-3, betas=(0.9, 0.98), **changes)
    model = Seq2SeqConvLSTM((1, SIZE, SIZE), depth=DEPTH, hidden_channels=HIDDEN)
    for module in model.modules():
        if channels_last and isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    split = StoredSplit(torch.rand(2 * BATCH, CONTEXT + HORIZON, 1, SIZE, SIZE), device)
    loss = WeightedLoss({"mse": 1.0})
    return Trainer("the step", model, loss, split, split, recipe, context=CONTEXT, seed=0, device=device)


def convolutions(trainer: Trainer) -> tuple[Callable[[], object], float]:
    """The convolutions of one step as a call of their own, and how many multiplications and additions they are."""
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []

    def note(convolution: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        x = inputs[0].detach().to(output.dtype).clone()  # autocast would narrow it inside the convolution
        seen.append((convolution, x.requires_grad_(inputs[0].requires_grad), torch.randn_like(output)))

    modules = [module for module in trainer.model.modules() if isinstance(module, nn.Conv2d | nn.Conv3d)]
    hooks = [module.register_forward_hook(note) for module in modules]
    sequences = trainer.train.batch(np.arange(trainer.recipe.batch_size))
    with trainer._autocast():
        trainer.model.lesson(sequences, sequences, trainer.context)
    for hook in hooks:
        hook.remove()
    weights = dict.fromkeys(weight for convolution, *_ in seen for weight in convolution.parameters())
    wanted = [x for _, x, _ in seen if x.requires_grad] + list(weights)
    gradients = [gradient for *_, gradient in seen]

    def alone() -> object:
        with trainer._autocast():
            outputs = [convolution(x) for convolution, x, _ in seen]
        return torch.autograd.grad(outputs, wanted, gradients)

    return alone, sum(_operations(convolution, x, output) for convolution, x, output in seen)


def _operations(convolution: nn.Module, x: Tensor, output: Tensor) -> float:
    """Two per weight and output pixel, once for each of: output, gradient of the weights, gradient of the input."""
    weight = convolution.get_parameter("weight")
    return 2.0 * weight[0].numel() * output.numel() * (3 if x.requires_grad else 2)


def _finished(call: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """The call, and the wait until the device is done with it."""

    def finished() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return finished


def _matmul(trainer: Trainer, device: torch.device, size: int = 8192) -> float:
    """Multiplications and additions per second of a large matrix product in the step's type."""
    dtype = torch.bfloat16 if trainer.recipe.precision == "bf16" else torch.float32
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    product = _finished(lambda: matrix @ matrix, device)
    seconds, *_ = paired(product, product)
    return 2.0 * size**3 / seconds


def _ceiling(label: str, reached: float, ceiling: float) -> Row:
    return Row(
        f"{label}, of a matrix product",
        f"{reached / 1e12:.1f} TFLOP/s",
        f"{ceiling / 1e12:.1f} TFLOP/s (8192 × 8192 product)",
        100 * reached / ceiling,
        "%",
        "",
        None,
    )
