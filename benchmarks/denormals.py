"""What a training step takes once gates are saturated, with the smallest numbers counted as zero and without.

A gate far from zero is a number below 1.2e-38 or the slope of one, for which a CPU leaves its fast path. A system that
learns too fast gets there; its step should cost what any other step costs.
"""

import time
from collections.abc import Callable

import torch

from benchmarks.base import Row, paired
from benchmarks.training_step import as_in_a_job
from framecast.models.convlstm_s import ConvLSTMS
from framecast.training.seeding import denormals_as_zero

SATURATED = 200.0  #: × the initial weights
GOAL = 1.2


def rows() -> list[Row]:
    """A saturated ConvLSTM-S as a job trains it, against one with its initial weights and one as PyTorch starts."""
    saturated, fresh = _step(SATURATED), _step(1.0)

    def slow() -> None:
        torch.set_flush_denormal(False)
        saturated()
        torch.set_flush_denormal(True)

    with as_in_a_job(), denormals_as_zero():
        ours, usual, ratio = paired(saturated, fresh, clock=time.process_time)
        _, as_started, gain = paired(saturated, slow, clock=time.process_time)
    return [
        Row(
            "saturated step, denormals as zero",
            f"{ours * 1e3:.0f} ms",
            f"{usual * 1e3:.0f} ms (initial weights)",
            1 / ratio,
            "×",
            f"≤ {GOAL:g} ×",
            1 / ratio <= GOAL,
        ),
        Row(
            "saturated step, denormals kept",
            f"{ours * 1e3:.0f} ms",
            f"{as_started * 1e3:.0f} ms (kept)",
            gain,
            "× faster",
            "",
            None,
        ),
    ]


def _step(factor: float) -> Callable[[], None]:
    torch.manual_seed(0)
    model = ConvLSTMS((1, 16, 16), depth=2, hidden_channels=16, patch_size=2)
    sequences = torch.rand(8, 20, 1, 16, 16)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(factor)

    def step() -> None:
        model.zero_grad()
        model(sequences[:, :10], 10).square().mean().backward()

    return step
