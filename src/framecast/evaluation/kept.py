"""Which test sequences are kept to look at: by rules that need no other cell, so that each cell can follow them alone.

* The first few, which nobody chose.
* The worst, the median and the best for copying the last frame. How that fares says nothing about a cell, so these are
  the same sequences for every system of a dataset: how hard a sequence is for whom knows nothing.
* The worst, the median and the best of the cell itself, of the whole test split.

That is at most six more than the first few, whatever the length of the split.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from framecast.evaluation.bootstrap import Better, badness

PLACES = ("worst", "median", "best")
FIRST, COPIED = "first", "copy_last"  #: why a sequence is kept, beside its place for the cell itself


@dataclass(frozen=True)
class Kept:
    """A test sequence, counted from 1, and every reason for which it is kept: ``first``, ``worst``, ``copy_last worst``
    and so on."""

    sequence: int
    why: tuple[str, ...]


def worst_first(errors: Float[np.ndarray, " n"], better: Better) -> list[int]:
    """Sequences, counted from 0, in order of their error; equal ones by number; what is not a number is the worst."""
    bad = [badness(value, better) for value in np.asarray(errors, np.float64).tolist()]
    return sorted(
        range(len(bad)), key=lambda at: (not math.isnan(bad[at]), 0.0 if math.isnan(bad[at]) else -bad[at], at)
    )


def extremes(errors: Float[np.ndarray, " n"], better: Better) -> dict[str, int]:
    """Worst, median and best → the sequence, counted from 0.

    >>> extremes(np.array([0.1, 0.4, 0.2]), "lower")
    {'worst': 1, 'median': 2, 'best': 0}
    """
    order = worst_first(errors, better)
    return dict(zip(PLACES, (order[0], order[len(order) // 2], order[-1]), strict=True))


def kept(own: Float[np.ndarray, " n"], copied: Float[np.ndarray, " n"], first: int, better: Better) -> tuple[Kept, ...]:
    """What is kept, the first few first, each sequence once.

    ``own`` is the error of each of the N test sequences for the cell, ``copied`` that of copying the last frame.

    >>> [one.sequence for one in kept(np.arange(9.0), -np.arange(9.0), 2, "lower")]
    [1, 2, 5, 9]
    """
    reasons: dict[int, list[str]] = {at: [FIRST] for at in range(min(first, len(own)))}
    for place, at in extremes(copied, better).items():
        reasons.setdefault(at, []).append(f"{COPIED} {place}")
    for place, at in extremes(own, better).items():
        reasons.setdefault(at, []).append(place)
    return tuple(Kept(at + 1, tuple(why)) for at, why in reasons.items())


def rows(chosen: Sequence[Kept]) -> np.ndarray:
    """The sequences that are kept, counted from 0, in the order of the stored frames."""
    return np.array([one.sequence - 1 for one in chosen])
