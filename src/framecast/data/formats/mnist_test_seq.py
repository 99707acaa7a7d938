"""``mnist_test_seq.npy``: the fixed Moving MNIST test set (Srivastava, Mansimov, Salakhutdinov 2015).

uint8, axes (time 20, sequence 10 000, height 64, width 64), 819 MB: read by memory map, never whole.
"""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from framecast.errors import UserError

SHAPE = (20, 10_000, 64, 64)
SHA256 = "c2a3e8d3939c001ab77bf543f130157424efa486bb4d0974d2cebb773b13f8b3"


def open_test_sequences(path: Path) -> UInt8[np.ndarray, "n t 1 64 64"]:
    """A view (sequence, time, 1, 64, 64) of the file on disk; only what is read from it enters memory.

    Raises UserError with path, expected and found when the file is cut off or holds anything but that array.
    """
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: expected a whole npy file, found {path.stat().st_size} bytes: {error}") from None
    if stored.shape != SHAPE or stored.dtype != np.uint8:
        raise UserError(f"{path}: expected uint8 {SHAPE}, found {stored.dtype} {stored.shape}")
    return stored.swapaxes(0, 1)[:, :, None]
