"""Snapshots: what a system forecast of the first validation sequences at a few points of its training.

Validation makes these forecasts anyway, so a snapshot costs a copy: no forward pass, and not one random number.
"""

import numpy as np
from torch import Tensor

SEQUENCES = 2  #: the first of the validation split
POINTS = 5  #: of the training, early ones close together: that is where a forecast changes most


def due(validation: int, validations: int) -> bool:
    """Whether the forecasts of the n-th of so many validations, counted from 1, are kept.

    The first and the last are, and between them what a geometric sequence of ``POINTS`` members comes nearest to.

    >>> [n for n in range(1, 151) if due(n, 150)], [n for n in range(1, 5) if due(n, 4)]
    ([1, 3, 12, 43, 150], [1, 2, 3, 4])
    """
    return validation in np.rint(np.geomspace(1, validations, POINTS))


def stored(sequences: Tensor) -> Tensor:
    """Sequences (B, T, *frame) in [0, 1] as they are kept, on the CPU: images in uint8, what leaves [0, 1] clipped;
    series in float32."""
    kept = sequences.detach().float().cpu()
    return ((kept.clamp(0, 1) * 255).round().byte() if kept.ndim == 5 else kept).contiguous()
