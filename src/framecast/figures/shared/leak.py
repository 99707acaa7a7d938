"""What a leak is worth, from measured scores: with the target in sight, and at the one output where it is not.

With a teacher, a system that reads frames 0 … K−1 makes outputs 0 … K−1, output i being the forecast of frame i + 1.
Should output i look at a later input, it looks at its own target. The last output has no later input: whatever a system
does, that one is honest. So

    fall = mean over outputs 0 … K−2 − output K−1        (psnr_frame, in dB; positive: worse without the answer)

measures the leak, if an honest twin of the system does not fall as far. The twin is trained by the same recipe and
differs in one argument.
"""

from dataclasses import dataclass
from math import hypot

import numpy as np

from framecast.results import TEACHER_FORCED, Results, Spread, System, goodness

METRICS = ("psnr_frame", "ssim_gauss", "mse_pix01", "mae_pix01", "sharpness")  #: of these what was measured is told
CLEAR = 2  #: a fall counts when it is larger than so many standard deviations over seeds


@dataclass(frozen=True)
class Span:
    """Some forecast steps of a mode; where ``is_open``, a system that looks ahead can have seen a target in it."""

    title: str
    mode: str
    steps: tuple[int, ...]
    is_open: bool


@dataclass(frozen=True)
class Levels:
    """A system with the answer in sight, without, and the difference, each over seeds."""

    system: System
    seen: Spread
    last: Spread
    fall: Spread


@dataclass(frozen=True)
class Finding:
    """A leaky system beside its honest twin, which differs in ``argument`` alone; both None where there is none."""

    leaky: Levels
    twin: Levels | None
    argument: str | None

    @property
    def is_clear(self) -> bool | None:
        """Whether the fall is larger than chance and than the twin's; None where one seed cannot tell."""
        if self.leaky.fall.sd is None:
            return None
        if self.leaky.fall.mean <= CLEAR * self.leaky.fall.sd:
            return False
        if self.twin is None:
            return True
        chance = hypot(self.leaky.fall.sd, self.twin.fall.sd or 0.0)
        return self.leaky.fall.mean - self.twin.fall.mean > CLEAR * chance


def is_measured(results: Results, dataset: str) -> bool:
    """Whether a dataset is scored with a teacher, and over more outputs than one."""
    scored = bool(results.scored(dataset)) and TEACHER_FORCED in results.modes(dataset)
    return scored and results.lengths(dataset, TEACHER_FORCED)[1] > 1


def metrics(results: Results, dataset: str) -> list[str]:
    """What the leak is told in, the leading one first."""
    measured = set(results.scores.loc[results.scores["dataset"] == dataset, "metric"])
    told = [metric for metric in METRICS if metric in measured]
    return told or [results.primary_metric(dataset)]


def spans(results: Results, dataset: str) -> list[Span]:
    """All outputs, all but the last, the last; those that other modes forecast too, and those modes themselves."""
    observed, horizon = results.lengths(dataset, TEACHER_FORCED)
    told = [
        _span(f"outputs 0..{horizon - 1}", range(1, horizon + 1), is_open=True),
        _span(f"outputs 0..{horizon - 2}", range(1, horizon), is_open=True),
        _span(f"output {horizon - 1} alone", range(horizon, horizon + 1), is_open=False),
    ]
    for mode in results.modes(dataset):
        if mode != TEACHER_FORCED:
            start, length = results.lengths(dataset, mode)
            shared = range(max(1, start - observed + 1), horizon + 1)
            told.append(_span(f"outputs {shared[0] - 1}..{horizon - 1}", shared, is_open=len(shared) > 1))
            told.append(Span(f"{start}→{length}", mode, tuple(range(1, length + 1)), is_open=False))
    return told


def _span(title: str, steps: range, *, is_open: bool) -> Span:
    return Span(title, TEACHER_FORCED, tuple(steps), is_open)


def twin(results: Results, dataset: str, system: System) -> tuple[System, str] | None:
    """The honest system with the same loss, depth and recipe that differs in one argument, and that argument."""
    for other in results.systems(dataset):
        if (other.loss, other.depth) != (system.loss, system.depth) or results.is_leaky(dataset, other):
            continue
        differing = differences(results.arguments(dataset, system), results.arguments(dataset, other))
        if len(differing) == 1 and _recipe(results, dataset, system) == _recipe(results, dataset, other):
            return other, differing[0]
    return None


def differences(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """The names under which two sets of arguments differ."""
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def _recipe(results: Results, dataset: str, system: System) -> object:
    return results.scored(dataset, system)[0].run["parameters"]["training"]


def findings(results: Results, dataset: str, metric: str) -> list[Finding]:
    """Every trained leaky system of a dataset; those with a twin first."""
    found = []
    for system in results.systems(dataset):
        if results.is_leaky(dataset, system) and (own := levels(results, dataset, system, metric)):
            other, argument = twin(results, dataset, system) or (None, None)
            beside = levels(results, dataset, other, metric) if other else None
            found.append(Finding(own, beside, argument))
    return sorted(found, key=lambda finding: finding.twin is None)


def levels(results: Results, dataset: str, system: System, metric: str) -> Levels | None:
    """A system with its targets in sight, if it looks, and without; None where it has no score.

    The fall is taken within each seed, so that what a seed adds to both cancels.
    """
    horizon = results.lengths(dataset, TEACHER_FORCED)[1]
    seen, last = (
        results.by_seed(dataset, system, metric, TEACHER_FORCED, steps)
        for steps in (range(1, horizon), range(horizon, horizon + 1))
    )
    if not seen:
        return None
    values = np.array([[seen[seed], last[seed]] for seed in seen])
    worth = np.array([[goodness(metric, value) for value in pair] for pair in values])
    told = (Spread.of(values[:, 0]), Spread.of(values[:, 1]), Spread.of(worth[:, 0] - worth[:, 1]))
    assert all(spread is not None for spread in told)
    return Levels(system, *told)  # type: ignore[arg-type]
