"""Is one forecaster better than another, or is it noise? A paired bootstrap over test sequences and seeds.

Errors of both forecasters are known for the same N test sequences, from S seeds each (S may differ, a baseline has
one). A resample draws N sequences with replacement, the same ones for both (that is the pairing: difficult sequences
are difficult for everybody), and, independently on each side, S seeds with replacement.

Two or three seeds are few. Resampling them understates the variance of their mean by (S − 1)/S, and a percentile
interval ignores that the spread itself is uncertain. Deviations from the mean over seeds are therefore widened by
√(S/(S − 1)) · t/z, the 97.5 % quantiles of Student's t with S_a + S_b − 2 degrees of freedom and of the normal
distribution. With one seed, training noise cannot be seen: the verdict is then about these trained networks, not about
the method.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Verdict = Literal["a better", "b better", "no difference"]
Better = Literal["lower", "higher", "one"]

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
    better: Better = "lower",
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare errors (S, N) or (N,) of two forecasters on the same N sequences.

    ``better`` says which way the metric improves; ``"one"`` is towards 1, from either side, and there the forecaster
    whose mean is nearer to 1 is the better one. The verdict is "no difference" when the interval contains 0.
    """
    a, b = np.atleast_2d(np.asarray(a, np.float64)), np.atleast_2d(np.asarray(b, np.float64))
    generator = np.random.default_rng(seed)
    degrees = len(a) + len(b) - 2
    weights_a = _seed_weights(generator, len(a), degrees, resamples)
    weights_b = _seed_weights(generator, len(b), degrees, resamples)
    means = _resampled_means(generator, np.vstack([a, b]), resamples)
    differences = (np.hstack([weights_a, -weights_b]) * means).sum(1)
    low, high = np.quantile(differences, [0.025, 0.975])
    return Comparison(
        difference=float(a.mean() - b.mean()),
        low=float(low),
        high=float(high),
        sequences=a.shape[1],
        verdict="no difference" if low <= 0 <= high else _winner(float(a.mean()), float(b.mean()), better),
    )


def _winner(a: float, b: float, better: Better) -> Verdict:
    return "a better" if badness(a, better) < badness(b, better) else "b better"


def badness(value: float, better: Better) -> float:
    """A number that is the lower the better the value."""
    return {"lower": value, "higher": -value, "one": abs(value - 1)}[better]


def _seed_weights(generator: np.random.Generator, seeds: int, degrees: int, resamples: int) -> Float[np.ndarray, "r s"]:
    """Weights of the seeds' means in each resample, summing to 1."""
    if seeds == 1:
        return np.ones((resamples, 1))
    from scipy import stats  # a second to import, and only tables over several seeds need it

    drawn = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    widening = math.sqrt(seeds / (seeds - 1)) * stats.t.ppf(0.975, degrees) / stats.norm.ppf(0.975)
    return 1 / seeds + widening * (drawn - 1 / seeds)


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


def spread(values: Float[np.ndarray, " s"] | list[float]) -> tuple[float, float | None]:
    """Mean over seeds and standard deviation with S − 1 in the denominator; None for a single seed."""
    values = np.asarray(values, np.float64)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None
