"""What the drawn 1-D datasets share: every sequence is a formula of its own uniform numbers."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from framecast.data.base import SPLITS, Dataset, Prepared, SplitName, StoredSplit, counter_uniforms


class GeneratedSeries(Dataset):
    """Sequences (N, context + horizon, 1) in [0, 1]: row i of a split is a function of (data_seed, split, i) alone.

    A subclass says what it is (``origin``, ``facts``), how many uniform numbers one sequence takes (``draws``), and
    how they become a curve (``curves``). The splits are disjoint because each has its own random stream.
    """

    frame_shape = (1,)
    origin: str
    facts: Mapping[str, float] = {}

    def __init__(self, context: int, horizon: int, sizes: Mapping[SplitName, int], data_seed: int) -> None:
        self.context = context
        self.horizon = horizon
        self.sizes = sizes
        self.data_seed = data_seed

    @property
    @abstractmethod
    def draws(self) -> int:
        """Uniform numbers per sequence."""

    @abstractmethod
    def curves(self, uniforms: Float[np.ndarray, "n draws"]) -> Float[np.ndarray, "n t"]:
        """Turn uniform numbers in [0, 1) into curves in [0, 1] over the whole window, row by row."""

    def sequences(self, split: SplitName, start: int, count: int) -> Float[np.ndarray, "{count} t 1"]:
        """Sequences start … start+count−1 of a split, float32."""
        uniforms = counter_uniforms(self.data_seed, SPLITS.index(split), start, count, self.draws)
        return self.curves(uniforms).astype(np.float32)[..., None]

    def prepare(self, raw: Path) -> Prepared:
        """Draw all three splits; ``raw`` is not read."""
        return Prepared(
            arrays={split: self.sequences(split, 0, self.sizes[split]) for split in SPLITS},
            facts={"source": "generated", "origin": self.origin, **self.facts},
        )

    def split(self, name: SplitName, arrays: Mapping[str, Tensor], *, seed: int, device: torch.device) -> StoredSplit:
        """Open a split; all three are fixed, whatever the cell's ``seed``."""
        return StoredSplit(arrays[name], device)
