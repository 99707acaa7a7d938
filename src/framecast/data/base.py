"""What a dataset is: prepared once into memory-mapped arrays, then read as batches of whole sequences.

A sequence holds ``context`` observed frames followed by ``horizon`` frames to forecast. Frames are (C,) in a
series and (C, H, W) in a video; a batch is (B, T, C) or (B, T, C, H, W), float32 in [0, 1].

The contract that makes resume and parallel runs exact: *sequence i of a split is a function of (seed, split, i)
alone*. No loader, worker or history enters, so nothing needs to be saved and anybody can check any sample.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` hands over: named arrays to store, and facts for the manifest.

    ``facts`` needs ``source`` (``official``, ``bundled`` or ``stand-in``) and ``origin`` (one sentence: whose data);
    everything in it must be reproducible: no clock, host name or path of this machine.
    """

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Split(ABC):
    """The sequences of one split."""

    @abstractmethod
    def __len__(self) -> int:
        """Sequences per epoch."""

    @abstractmethod
    def batch(self, indices: np.ndarray, epoch: int = 0) -> Tensor:
        """Sequences ``indices`` (B,) of an epoch: (B, T, *frame) float32 in [0, 1] on the split's device.

        Fixed splits ignore the epoch; a split that draws fresh sequences has sequence ``epoch · len + i`` at i.
        """


class StoredSplit(Split):
    """A split that is an array of whole sequences, (N, T, *frame), float32 in [0, 1] or uint8 in 0..255.

    The array stays on disk as a memory map; only the asked-for sequences are read.
    """

    def __init__(self, sequences: Tensor, device: torch.device) -> None:
        self.sequences = sequences
        self.device = device

    def __len__(self) -> int:
        return len(self.sequences)

    def batch(self, indices: np.ndarray, epoch: int = 0) -> Tensor:
        """Read sequences by index; uint8 becomes float32 / 255."""
        rows = self.sequences[torch.as_tensor(indices)].to(self.device)
        return rows.float() / 255 if rows.dtype == torch.uint8 else rows.float()


class Dataset(ABC):
    """One kind of data. A subclass takes ``context``, ``horizon`` and its own parameters as keyword-only arguments.

    Its module says ``FRAMES = "series"`` or ``"video"``, and its annotations are the bounds that ``params.yaml`` is
    checked against. A video's module also says ``SIDE``: how many pixels the shorter side of its frames has, or the
    argument that says it. ``FITS`` says what the arguments must be beside each other.
    """

    context: int
    horizon: int
    frame_shape: tuple[int, ...]  #: (C,) or (C, H, W)

    @abstractmethod
    def prepare(self, raw: Path) -> Prepared:
        """Read the published files under ``raw`` (untouched when the source is bundled or generated), build the arrays.

        Raises UserError with path, expected and found when a raw file is missing, truncated or altered.
        """

    @abstractmethod
    def split(self, name: SplitName, arrays: Mapping[str, Tensor], *, seed: int, device: torch.device) -> Split:
        """Open a split over the prepared arrays (memory-mapped torch tensors).

        ``seed`` is the cell's: it matters only to a training split that draws fresh sequences; validation and test
        are the same for every seed.
        """

    def groups(self, name: SplitName, arrays: Mapping[str, Tensor]) -> Tensor | None:
        """Which sequences of a split share a person, a subject or a trajectory: (N,) int64, or None where none do.

        It is the array ``<split>_group``, where ``prepare`` made one.
        """
        return arrays.get(f"{name}_group")


def counter_uniforms(seed: int, stream: int, start: int, count: int, draws: int) -> np.ndarray:
    """Uniform numbers of samples start … start+count−1: (count, draws) float64 in [0, 1).

    Row i is a function of (seed, stream, start + i) alone: Philox is a counter-based generator, so it can be moved to
    any sample directly. ``draws`` is rounded up to a multiple of four, the width of one Philox block.
    """
    width = -(-draws // 4) * 4
    bits = np.random.Philox(key=[np.uint64(seed), np.uint64(stream)])
    bits.advance(start * width // 4)
    return np.random.Generator(bits).random((count, width))[:, :draws]
