"""A split whose sequences are windows of longer recordings."""

import numpy as np
import torch
from torch import Tensor

from framecast.data.base import Split


class WindowSplit(Split):
    """Sequence i is frames start[i] … start[i] + length − 1 of an array of frames (F, C, H, W), uint8.

    Each frame is stored once, however many windows show it; the array stays on disk as a memory map.
    """

    def __init__(self, frames: Tensor, starts: Tensor, length: int, device: torch.device) -> None:
        self.frames, self.starts, self.length, self.device = frames, starts, length, device

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, indices: np.ndarray, epoch: int = 0) -> Tensor:
        """Windows by index, (B, T, C, H, W) float32; the epoch plays no part."""
        rows = self.starts[torch.as_tensor(indices)].long()[:, None] + torch.arange(self.length)
        return self.frames[rows].to(self.device).float() / 255
