"""What became of every number between two sides, and whether that is more than noise.

**Noise.** With S_b seeds before and S_a after, a change of means is *within noise* when it is not larger than

    t · s · √(1/S_b + 1/S_a),   s² = ((S_b − 1)·sd_b² + (S_a − 1)·sd_a²) / (S_b + S_a − 2)

t being the 97.5 % quantile of Student's t with S_b + S_a − 2 degrees of freedom: where seeds alone scatter as they did,
19 of 20 changes stay within it, and of a hundred numbers some five go beyond by chance. One seed beside several is
taken to scatter as they do. With one seed on each side nothing is known of their scatter: such a change is *better
(one seed)* or *worse (one seed)*, which says what happened to these two networks, and nothing of what a third would do.

The intervals of ``comparisons.csv`` are of two systems at one commit. They pair test sequences, which a change of one
system between two commits cannot, since git keeps no score of a single sequence. So they say whether a finding (a is
better than b) changed, and never widen or narrow the noise of a number.

**Not comparable** are numbers of different tests: where split, source or number of sequences differ, where one of the
two leaks (the causality probe caught it seeing what it must forecast) and the other does not, and where a baseline that
learns nothing (copy last, context mean, zeros) moved by the same metric, since only another test set or another
definition of the metric can move it. Another scale alone says nothing where such a baseline stood still, and makes
numbers not comparable where there is none to ask.

A baseline has no seed and is *moved* or *the same*; least squares, which is fitted, also moves with its training split.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from framecast.results import Spread, System, goodness
from framecast.study import catalogue
from framecast.study.grid import Cell
from framecast.upkeep.diff.sides import FACTS, Finding, Pair, Row, Side

AFFECTS_NUMBERS = False
Verdict = Literal[
    "worse",
    "worse (one seed)",
    "not defined",
    "better",
    "better (one seed)",
    "within noise",
    "not comparable",
    "moved",
    "removed",
    "added",
    "the same",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
QUANTILE = 0.975
SAME = 1e-6  #: relative; as far apart may two machines put one and the same forecast


@dataclass(frozen=True)
class Number:
    """A system's score on a dataset, by a metric in a mode, at both sides.

    ``change`` is after − before, ``gain`` the same in the direction of the metric (above 0 is better; of a metric that
    improves towards 1, how much nearer it came), and ``noise`` how large a change may be by chance, None where nothing
    is known of it. ``why`` says what makes it another test.
    """

    dataset: str
    mode: str
    metric: str
    system: System
    before: Spread | None
    after: Spread | None
    verdict: Verdict
    noise: float | None = None
    why: tuple[str, ...] = ()
    lost: tuple[int, ...] = ()  #: seeds that only the side before has
    leaky: bool = False

    @property
    def change(self) -> float | None:
        """After − before; None where a side has no number."""
        return self.after.mean - self.before.mean if self.before and self.after else None

    @property
    def gain(self) -> float | None:
        """The change in the direction of the metric."""
        if not (self.before and self.after):
            return None
        return goodness(self.metric, self.after.mean) - goodness(self.metric, self.before.mean)


@dataclass(frozen=True)
class Moved:
    """A finding that is another one now."""

    pair: Pair
    before: Finding
    after: Finding


def numbers(before: Side, after: Side, metrics: Iterable[str], cells: frozenset[Cell] | None = None) -> list[Number]:
    """Every number of either side by these metrics (of these cells), in the order of the newer table.

    What is only in the older one stands at the end of its dataset.
    """
    wanted = tuple(metrics)
    old, new = (_gathered(side.rows, wanted, cells) for side in (before, after))
    places = dict.fromkeys((*new, *old))
    tests = {
        (dataset, mode, metric): _other_test(old, new, dataset, mode, metric)
        for dataset, mode, metric in dict.fromkeys(place[:3] for place in places)
    }
    found = [_number(place, old.get(place, ()), new.get(place, ()), tests[place[:3]]) for place in places]
    datasets = list(dict.fromkeys(number.dataset for number in found))
    return sorted(found, key=lambda one: (datasets.index(one.dataset), one.mode, wanted.index(one.metric)))


def findings(before: Side, after: Side, wanted: Iterable[Number]) -> list[Moved]:
    """The paired comparisons between systems whose verdict changed, as far as they are about these numbers.

    One by a metric that is not defined on a side has no verdict there.
    """
    about = {(number.dataset, number.mode, number.metric, str(number.system)) for number in wanted}
    moved = []
    for pair in dict.fromkeys((*after.findings, *before.findings)):
        old, new = before.findings.get(pair), after.findings.get(pair)
        both = {(*pair[:3], pair[3]), (*pair[:3], pair[4])}
        if not (old and new and old.is_defined and new.is_defined):
            continue
        if both <= about and old.verdict != new.verdict:
            moved.append(Moved(pair, old, new))
    return moved


def noise(before: Spread, after: Spread) -> float | None:
    """How far two means may lie apart by chance, at 95 %; None with one seed on each side.

    >>> round(noise(Spread(1.0, 0.1, 3), Spread(1.2, 0.1, 3)), 4), noise(Spread(1.0, None, 1), Spread(1.2, None, 1))
    (0.2267, None)
    """
    degrees = before.seeds + after.seeds - 2
    if not degrees:
        return None
    from scipy.special import stdtrit

    squares = sum((one.seeds - 1) * (one.sd or 0.0) ** 2 for one in (before, after))
    quantile = float(stdtrit(degrees, QUANTILE))
    return quantile * math.sqrt(squares / degrees * (1 / before.seeds + 1 / after.seeds))


# --- one number -------------------------------------------------------------------------------------

Place = tuple[str, str, str, System]  #: dataset, mode, metric, system
Gathered = dict[Place, tuple[Row, ...]]


def _gathered(rows: Iterable[Row], metrics: tuple[str, ...], cells: frozenset[Cell] | None) -> Gathered:
    found: dict[Place, list[Row]] = {}
    for row in rows:
        if row.metric in metrics and (cells is None or row.cell in cells):
            found.setdefault((row.cell.dataset, row.mode, row.metric, row.system), []).append(row)
    return {place: tuple(sorted(seeds, key=lambda row: row.cell.seed or 0)) for place, seeds in found.items()}


def _number(place: Place, old: tuple[Row, ...], new: tuple[Row, ...], other_test: tuple[str, ...]) -> Number:
    before, after = (Spread.of(np.array([row.value for row in rows])) for rows in (old, new))
    seeds = [{row.cell.seed: row.value for row in rows} for rows in (old, new)]
    lost = tuple(sorted(seed for seed in seeds[0] if seed not in seeds[1] and seed is not None and new))
    why = tuple(dict.fromkeys((*_other_facts(old, new), *other_test)))
    leaky = any(row.facts[FACTS.index("causal")] not in ("", "causal") for row in new or old)
    width = noise(before, after) if before and after and place[3].loss else None
    verdict = _verdict(place, before, after, width, why, same=_alike(*seeds))
    reasons = why if verdict in ("not comparable", "moved") else ()
    return Number(*place, before, after, verdict, width, reasons, lost, leaky)


def _alike(old: dict[int | None, float], new: dict[int | None, float]) -> bool:
    """Whether every seed has its number to the last bit; what is not defined on either side is the same."""
    return old.keys() == new.keys() and all(repr(old[seed]) == repr(new[seed]) for seed in old)


def _verdict(
    place: Place, before: Spread | None, after: Spread | None, width: float | None, why: tuple[str, ...], *, same: bool
) -> Verdict:
    if before is None or after is None:
        return "added" if before is None else "removed"
    if same:
        return "the same"
    system = place[3]
    if system.loss is None:
        return "moved"
    if why:
        return "not comparable"
    if not (math.isfinite(before.mean) and math.isfinite(after.mean)):
        return "not defined"
    gain = goodness(place[2], after.mean) - goodness(place[2], before.mean)
    if not gain:
        return "the same"
    if width is None:
        return "better (one seed)" if gain > 0 else "worse (one seed)"
    if abs(gain) <= width:
        return "within noise"
    return "better" if gain > 0 else "worse"


# --- whether it is the same test --------------------------------------------------------------------


def _other_facts(old: tuple[Row, ...], new: tuple[Row, ...]) -> Iterator[str]:
    for fact in ("split", "source", "sequences", "causal"):
        was, now = ({row.facts[FACTS.index(fact)] for row in rows} - {""} for rows in (old, new))
        if was and now and was != now:
            yield f"{fact} {', '.join(sorted(was))} → {', '.join(sorted(now))}"


def _other_test(old: Gathered, new: Gathered, dataset: str, mode: str, metric: str) -> tuple[str, ...]:
    """Why the numbers of a dataset were measured on another test; empty where they were not."""
    here = [place for place in old if place[:3] == (dataset, mode, metric) and place in new]
    unfitted = [place for place in here if place[3].loss is None and _learns_nothing(place[3].model)]
    if moved := [place[3].model for place in unfitted if not _close(old[place][0].value, new[place][0].value)]:
        return (f"the baseline{'' if len(moved) == 1 else 's'} {', '.join(moved)} moved",)
    scales = [
        {row.facts[FACTS.index("scale")] for place, rows in side.items() if place[0] == dataset for row in rows}
        for side in (old, new)
    ]
    if not unfitted and here and scales[0] != scales[1]:
        return (f"scale {', '.join(sorted(scales[0]))} → {', '.join(sorted(scales[1]))}, and no baseline to ask",)
    return ()


def _close(one: float, other: float) -> bool:
    return one == other or abs(one - other) <= SAME * max(abs(one), abs(other)) or (one != one and other != other)


def _learns_nothing(model: str) -> bool:
    """Whether a baseline's forecast depends on the context alone: it is not fitted on the training split."""
    if model not in catalogue.baselines():
        return False
    return all("fit" not in one.methods for one in catalogue.said(f"models.{model}").classes.values())
