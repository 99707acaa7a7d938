"""Moving MNIST rendering against the loop that draws one digit into one frame at a time."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.base import Row, paired
from framecast.data.generated.bouncing_digits import RenderedSplit, render
from framecast.data.moving_mnist import MovingMNIST

BATCH = 64
BATCHES = 8  #: in a row, as an epoch asks for them: otherwise the second core is timed while it wakes up
THREADS = 2
GOAL = 8


def rows() -> list[Row]:
    """Both generators at published size, 64 sequences of 20 frames a batch: painted, and as float32 for training.

    The goal is set on painting; turning grey levels into float32 moves four times the bytes, whoever painted them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        return [row for variant in ("svg", "srivastava") for row in _compared(variant)]
    finally:
        torch.set_num_threads(before)


def _compared(variant: str) -> list[Row]:
    dataset = MovingMNIST(source="bundled", variant=variant, test=BATCH)
    prepared = dataset.prepare(Path())
    arrays = {name: torch.from_numpy(array) for name, array in prepared.arrays.items()}
    split = dataset.split("test", arrays, seed=0, device=torch.device("cpu"))
    options = {"frame_size": split.frame_size, "overlap": split.overlap}

    grey = partial(render, split.images, split.scenes.digits, split.scenes.positions, **options)
    batch = partial(split.batch, np.arange(BATCH))
    images = split.images.numpy()
    loop = partial(one_digit_one_frame, split, images, np.uint8(255))
    float_loop = partial(one_digit_one_frame, split, images.astype(np.float32) / 255, np.float32(1))
    return [
        _row(f"render {variant}, uint8 frames", grey, loop, goal=GOAL),
        _row(f"render {variant}, float32 batch", batch, float_loop, goal=None),
    ]


def _row(name: str, ours: Callable[[], torch.Tensor], loop: Callable[[], np.ndarray], goal: float | None) -> Row:
    if not np.allclose(ours().numpy(), loop(), rtol=0, atol=1e-6):
        raise AssertionError(f"{name}: the two renderings differ, so their times cannot be compared")
    mine, theirs, ratio = paired(lambda: _in_a_row(ours), lambda: _in_a_row(loop), repeats=9)
    return Row(
        name=name,
        ours=f"{BATCHES * BATCH / mine:,.0f} sequences/s",
        reference=f"{BATCHES * BATCH / theirs:,.0f} sequences/s (NumPy loop)",
        figure=ratio,
        unit="×",
        goal=f"≥ {goal} ×" if goal else "",
        meets=ratio >= goal if goal else None,
    )


def _in_a_row(paint: Callable[[], object]) -> None:
    for _ in range(BATCHES):
        paint()


def one_digit_one_frame(split: RenderedSplit, images: np.ndarray, white: np.generic) -> np.ndarray:
    """The plain way: for each sequence, frame and digit, combine the digit with the pixels under it."""
    digits, positions = split.scenes.digits.numpy(), split.scenes.positions.numpy()
    size = images.shape[-1]
    frames = np.zeros((*positions.shape[:2], 1, split.frame_size, split.frame_size), images.dtype)
    for sequence, frame, layer in np.ndindex(positions.shape[:3]):
        y, x = positions[sequence, frame, layer]
        under = frames[sequence, frame, 0, y : y + size, x : x + size]
        digit = images[digits[sequence, layer]]
        if split.overlap == "maximum":
            np.maximum(under, digit, out=under)
        else:
            under += np.minimum(digit, white - under)
    return frames
