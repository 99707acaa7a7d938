"""A split whose sequences are windows of longer recordings."""

import numpy as np
import torch
from jaxtyping import Int32, UInt8
from torch import Tensor

from framecast.data.base import Split


class WindowSplit(Split):
    """Sequence i is the frames ``rows[i]`` of an array of frames, in this order.

    Each frame is stored once, however many windows show it; the array stays on disk as a memory map.
    """

    def __init__(self, frames: UInt8[Tensor, "f c h w"], rows: Int32[Tensor, "n t"], device: torch.device) -> None:
        self.frames, self.rows, self.device = frames, rows, device

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: np.ndarray, epoch: int = 0) -> Tensor:
        """Windows by index, (B, T, C, H, W) float32 in [0, 1]; the epoch plays no part."""
        rows = self.rows[torch.as_tensor(indices)].long()
        return self.frames[rows].to(self.device).float() / 255
