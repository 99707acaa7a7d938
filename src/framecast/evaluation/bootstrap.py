"""Is one forecaster better than another, or is it noise? A paired bootstrap over test sequences and seeds.

Errors of both forecasters are known for the same N test sequences, from S seeds each (S may differ, a baseline has
one). A resample draws N sequences with replacement, the same ones for both (that is the pairing: difficult sequences
are difficult for everybody), and, independently on each side, S seeds with replacement.

Sequences that share a person, a subject or a trajectory are alike, and N of them say less than N strangers would. Where
the G groups are known a resample draws groups, each with all its sequences, and the mean is that of the sequences
drawn.

Two or three seeds are few, and so are nine persons. Resampling them understates the variance of their mean by (S −
1)/S, and a percentile interval ignores that the spread itself is uncertain. Deviations from the mean over seeds are
therefore widened by √(S/(S − 1)) · t/z, the 97.5 % quantiles of Student's t with S_a + S_b − 2 degrees of freedom and
of the normal distribution; those from the mean over groups by the same with G, and G − 1 degrees. With one group
nothing is known of others: the interval is the whole line. With one seed, training noise cannot be seen: the verdict is
then about these trained networks, not about the method.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Verdict = Literal["a better", "b better", "no difference"]
Better = Literal["lower", "higher", "one"]

GROUPS = "groups"  #: under which name the groups stand beside the values of each sequence

#: Values gathered at a time, 32 MB.
CHUNK = 2**22


@dataclass(frozen=True)
class Comparison:
    """mean(a) − mean(b), its 95 % interval, and what follows."""

    difference: float
    low: float
    high: float
    sequences: int
    verdict: Verdict


def compare(
    a: Float[np.ndarray, "*sa n"],
    b: Float[np.ndarray, "*sb n"],
    *,
    groups: Int[np.ndarray, " n"] | None = None,
    better: Better = "lower",
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare errors (S, N) or (N,) of two forecasters on the same N sequences.

    ``groups`` says which sequences are drawn together; by default each stands alone.
    ``better`` says which way the metric improves; ``"one"`` is towards 1, from either side. The verdict is "no
    difference" when the interval contains 0, or when one of the errors is NaN, since nothing is better than what has no
    value. Towards 1 that is the interval of |mean(a) − 1| − |mean(b) − 1|, which is not the one that is told: 0.92 and
    1.08 differ, and neither is better.
    """
    a, b = np.atleast_2d(np.asarray(a, np.float64)), np.atleast_2d(np.asarray(b, np.float64))
    difference, sequences = float(a.mean() - b.mean()), a.shape[1]
    if groups is not None and len(np.unique(groups)) == 1:
        return Comparison(difference, -math.inf, math.inf, sequences, "no difference")
    means_a, means_b = _means(a, b, groups, resamples, np.random.default_rng(seed))
    interval = _interval(means_a - means_b)
    worse = _interval(np.abs(means_a - 1) - np.abs(means_b - 1)) if better == "one" else interval
    return Comparison(difference, *interval, sequences, _verdict(*worse, better))


def _interval(resampled: Float[np.ndarray, " r"]) -> tuple[float, float]:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(low), float(high)


def _verdict(low: float, high: float, better: Better) -> Verdict:
    """What an interval of a less b says; towards 1, of their distances from it. NaN is on no side."""
    if not (low > 0 or high < 0):
        return "no difference"
    return "b better" if (low > 0) != (better == "higher") else "a better"


def _means(
    a: Float[np.ndarray, "sa n"],
    b: Float[np.ndarray, "sb n"],
    groups: Int[np.ndarray, " n"] | None,
    resamples: int,
    generator: np.random.Generator,
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, " r"]]:
    """mean(a) and mean(b) in each resample, their deviations widened for few seeds and groups."""
    degrees = len(a) + len(b) - 2
    weights_a = _seed_weights(generator, len(a), degrees, resamples)
    weights_b = _seed_weights(generator, len(b), degrees, resamples)
    draw = _resampled_means if groups is None else partial(_means_of_groups, groups=groups)
    means = draw(generator, np.vstack([a, b]), resamples)
    return (weights_a * means[:, : len(a)]).sum(1), (weights_b * means[:, len(a) :]).sum(1)


def badness(value: float, better: Better) -> float:
    """A number that is the lower the better the value."""
    return {"lower": value, "higher": -value, "one": abs(value - 1)}[better]


def _seed_weights(generator: np.random.Generator, seeds: int, degrees: int, resamples: int) -> Float[np.ndarray, "r s"]:
    """Weights of the seeds' means in each resample, summing to 1."""
    if seeds == 1:
        return np.ones((resamples, 1))
    drawn = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    return 1 / seeds + _widening(seeds, degrees) * (drawn - 1 / seeds)


def _widening(count: int, degrees: int) -> float:
    """What makes up for resampling few: √(n/(n − 1)) · t/z."""
    from scipy import stats  # a second to import, and only tables over several seeds or groups need it

    return math.sqrt(count / (count - 1)) * float(stats.t.ppf(0.975, degrees) / stats.norm.ppf(0.975))


def _resampled_means(
    generator: np.random.Generator, errors: Float[np.ndarray, "s n"], resamples: int
) -> Float[np.ndarray, "r s"]:
    """Mean error of each row over the sequences of each resample; all rows see the same sequences."""
    sequences = errors.shape[1]
    rows = max(1, CHUNK // sequences)
    means = np.empty((resamples, len(errors)))
    for start in range(0, resamples, rows):
        chosen = generator.integers(sequences, size=(min(rows, resamples - start), sequences), dtype=np.int32)
        for row, values in enumerate(errors):
            means[start : start + len(chosen), row] = values[chosen].mean(1)
    return means


def _means_of_groups(
    generator: np.random.Generator,
    errors: Float[np.ndarray, "s n"],
    resamples: int,
    *,
    groups: Int[np.ndarray, " n"],
) -> Float[np.ndarray, "r s"]:
    """The same over the sequences of whole groups, two or more; resamples differ in length where groups do."""
    _, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    means = errors.mean(1)
    sums = np.stack([np.bincount(members, row) for row in errors])
    rows = max(1, CHUNK // len(sizes))
    drawn = []
    for start in range(0, resamples, rows):
        chosen = generator.integers(len(sizes), size=(min(rows, resamples - start), len(sizes)), dtype=np.int32)
        drawn.append(np.stack([row[chosen].sum(1) for row in sums], axis=1) / sizes[chosen].sum(1)[:, None])
    return means + _widening(len(sizes), len(sizes) - 1) * (np.concatenate(drawn) - means)


def spread(values: Float[np.ndarray, " s"] | list[float]) -> tuple[float, float | None]:
    """Mean over seeds and standard deviation with S − 1 in the denominator; None for a single seed."""
    values = np.asarray(values, np.float64)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None
