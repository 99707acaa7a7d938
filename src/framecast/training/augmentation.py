"""Augmentation of training batches: flips, quarter turns and noise, all off unless ``params.yaml`` asks for them.

KARTAL's code (reference: ``samettkartal/ConvLSTM-Video-Prediction``) writes flips, 90° turns and noise N(0, 0.01²) and
switches them off, so off is the default here too.

The numbers come from the CPU generator, which the loop seeds with (seed, step): a batch is augmented alike on CPU and
GPU, before and after a resume. What is off draws nothing, so that it leaves the numbers of dropout as they were.
"""

import torch
from torch import Tensor

from framecast.errors import UserError


def augmented(sequences: Tensor, *, flips: bool, rotations: bool, noise: float) -> tuple[Tensor, Tensor]:
    """What a batch (B, T, *frame) becomes: the truth that the loss asks for, and what the model sees of it.

    flips      left-right with probability ½, and up-down with probability ½
    rotations  by 0, 1, 2 or 3 quarter turns, each with probability ¼; frames must be square
    noise      seen = clip(truth + ε, 0, 1) with ε ~ N(0, noise²) for every value; the truth stays clean

    A sequence is flipped and turned as a whole, all its frames alike, since a motion must stay a motion. Flips and
    turns need frames (C, H, W).
    """
    if flips:
        for axis in (-1, -2):
            sequences = _where(_draw(len(sequences), 2) == 1, sequences.flip(axis), sequences)
    if rotations:
        turns = _draw(len(sequences), 4)
        for quarters in (1, 2, 3):
            sequences = _where(turns == quarters, sequences.rot90(quarters, dims=(-2, -1)), sequences)
    if not noise:
        return sequences, sequences
    drawn = torch.randn(sequences.shape)  # on the CPU, whatever the device
    return sequences, (sequences + noise * drawn.to(sequences.device)).clamp(0, 1)


def refuse_to_turn(frame_shape: tuple[int, ...], cell: str) -> None:
    """Raise UserError for frames (C, H, W) that a quarter turn would give another shape."""
    height, width = frame_shape[-2:]
    if height != width:
        raise UserError(
            f"cell {cell}: found rotations with frames of {height} × {width} pixels, allowed: square frames; "
            "set rotations: false in params.yaml"
        )


def _draw(count: int, choices: int) -> Tensor:
    """One of 0 … choices−1 for each sequence, (B,) int64, on the CPU."""
    return torch.randint(choices, (count,))


def _where(chosen: Tensor, changed: Tensor, kept: Tensor) -> Tensor:
    """Whole sequences (B, T, C, H, W) of either, as ``chosen`` (B,) says."""
    return torch.where(chosen.to(kept.device).view(-1, 1, 1, 1, 1), changed, kept).contiguous()
