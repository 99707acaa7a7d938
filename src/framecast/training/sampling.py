"""Scheduled sampling: which frames of a training sequence a system reads as they are, and when its own forecasts.

S. Bengio, O. Vinyals, N. Jaitly, N. Shazeer, "Scheduled Sampling for Sequence Prediction with Recurrent Neural
Networks", NeurIPS 2015; ``reverse`` is that of PredRNN-V2 (thuml/predrnn-pytorch, chengtan9907/OpenSTL). Of N = T + K
frames the first is always given and the last never read. Each of the others, in each sequence by itself, is given with
a probability that depends on the step s of the training, counted from 0:

    none       frames of the context 1                                              frames after it 0
    scheduled  1                                                                    max(0, 1 − (s + 1)/b)
    reverse    ½ for s < a,  1 − ½ exp(−(s − a)/α) for a ≤ s < b,  1 from b on      ½, ½ (b − s)/(b − a), 0

with a, b, α = ``sampling_start``, ``sampling_end``, ``sampling_decay`` in iterations or, with ``sampling_unit: run``,
as shares of the run's steps. Where a step is counted from 1, as in thuml/predrnn-pytorch, ``scheduled`` is the same
(there iteration i uses 1 − i/b), and ``reverse`` is one step ahead.
"""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from framecast.training.seeding import numbers_of_step

if TYPE_CHECKING:
    from framecast.study.params import Training


def scheduled(step: int, end: float) -> float:
    """The probability that a frame after the context is given.

    >>> [round(scheduled(step, end=50e3), 5) for step in (0, 9_999, 49_999, 60_000)]
    [0.99998, 0.8, 0.0, 0.0]
    """
    return max(0.0, 1 - (step + 1) / end)


def reverse(step: int, start: float, end: float, decay: float) -> tuple[float, float]:
    """The probabilities that a frame of the context and one after it is given.

    >>> context, after = reverse(27_500, start=25e3, end=50e3, decay=2.5e3)
    >>> round(context, 4), after
    (0.8161, 0.45)
    """
    if step < start:
        return 0.5, 0.5
    if step >= end:
        return 1.0, 0.0
    return 1 - 0.5 * math.exp(-(step - start) / decay), 0.5 - 0.5 * (step - start) / (end - start)


def probabilities(recipe: "Training", step: int, steps: int) -> tuple[float, float]:
    """The probabilities that a frame of the context and one after it is given, at a step of so many."""
    unit = steps if recipe.sampling_unit == "run" else 1
    if recipe.sampling == "scheduled":
        return 1.0, scheduled(step, recipe.sampling_end * unit)
    if recipe.sampling == "reverse":
        times = recipe.sampling_start, recipe.sampling_end, recipe.sampling_decay
        return reverse(step, *(time * unit for time in times))
    return 1.0, 0.0


def given(
    recipe: "Training", seed: int, step: int, steps: int, sequences: Tensor, context: int
) -> Bool[Tensor, "b n_less_2"] | None:
    """Which of the frames 2 … N − 1 of sequences (B, N, *frame) are given, a function of (seed, step) on any device.

    None where the recipe samples nothing: then those of the context are.
    """
    if recipe.sampling == "none":
        return None
    within, after = probabilities(recipe, step, steps)
    batch, frames = sequences.shape[:2]
    drawn = torch.from_numpy(numbers_of_step(seed, step, (batch, frames - 2)))
    threshold = torch.tensor([within] * (context - 1) + [after] * (frames - 1 - context), dtype=drawn.dtype)
    return (drawn < threshold).to(sequences.device)
