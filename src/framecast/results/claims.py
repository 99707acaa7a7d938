"""Whether what the sources claim is so: each claim of ``published.claims`` held against results.

Every comparison of a claim's statements becomes an *outcome*: a measured quantity, its 95 % interval, and the threshold
that the claim puts it above or below. The interval is that of the paired bootstrap (``evaluation.bootstrap``) over test
sequences, or over what groups them, and over seeds:

    ā             its own
    ā − b̄          paired, or that of the table of comparisons where the pair stands there
    r = ā / b̄      paired: that of ā − r·b̄, divided by b̄ (the ratio is linear in both to first order)
    unpaired r    sides on different datasets, or each relative to another side: on the logarithm, where the distances
                  of the ends of both add in squares, since the two are independent (or, where they are not, alike)

A claim *holds* when each of its outcomes lies on the claimed side with its whole interval. It *does not hold* when one
of them lies on the other side, with an interval widened for as many comparisons as the claim has (Bonferroni), because
the chance that one of many does so increases with them. Otherwise it is *undecided*, or *not yet measured* where
something is missing. A system with one seed decides nothing: what training leaves to chance does not show in it.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from framecast.errors import UserError
from framecast.evaluation.bootstrap import GROUPS, compare
from framecast.published import CLAIMS
from framecast.published.claims import Claim, Side, Statement
from framecast.results import CellFiles, Results, System
from framecast.results.records import MEASURED, Record
from framecast.study import catalogue

Word = Literal["holds", "does not hold", "undecided", "not yet measured"]
Seen = Literal["as claimed", "the other way", "no difference", "no interval"]
Kind = Literal["value", "difference", "ratio", "step"]
WORDS: tuple[Word, ...] = get_args(Word)

PUBLISHED = "paper"  #: the scale of the published settings
ORDER = ("demo", "laptop", PUBLISHED)  #: scales, by how much they say; one of another name stands before them
#: Of more sequences than this neighbours are drawn together: an interval is no other for it, and is had sooner.
BLOCKS = 500
DEPTH = re.compile(r"depth-\d+")


@dataclass(frozen=True)
class Held:
    """Results that claims are held against, and the intervals that a record of them has (``records.MEASURED``)."""

    results: Results
    record: str = ""
    known: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(MEASURED)))

    @property
    def scale(self) -> str:
        """Under which scale its cells were made; empty without any."""
        scored = (cell for cell in self.results.cells if cell.score_folder is not None)
        return next((cell.score["scale"] for cell in scored), "")


@dataclass(frozen=True)
class Interval:
    """A quantity with its 95 % interval; without one where no values of each test sequence are known."""

    estimate: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Outcome:
    """One comparison of a statement on one dataset by one metric.

    ``b`` is empty where ``a`` is held against a level or itself. ``count`` is how many comparisons it stands for: of
    those of each step it is the one that speaks least for the claim, at ``step``. ``seeds`` is the smaller number of
    the two, ``groups`` how many persons, subjects or trajectories share the sequences, where they do.
    """

    kind: Kind
    dataset: str
    mode: str
    metric: str
    a: str
    b: str
    claimed: Literal["above", "below"]
    threshold: float
    found: Interval
    sequences: int
    seeds: int
    lengths: tuple[int, int]
    sources: tuple[str, ...]
    groups: int | None
    leaky: bool
    decides: bool
    record: str
    reason: str = ""
    count: int = 1
    step: int | None = None

    @property
    def word(self) -> Seen:
        """Where the interval lies."""
        if math.isnan(self.found.low):
            return "no interval"
        return "as claimed" if self._lies(1.0, 1) else "the other way" if self._lies(1.0, -1) else "no difference"

    def contradicts(self, comparisons: int) -> bool:
        """Whether it lies on the other side when it is one of so many comparisons, each of which might by chance."""
        normal = NormalDist()
        wider = normal.inv_cdf(1 - 0.025 / comparisons) / normal.inv_cdf(0.975)
        return self.seeds > 1 and self._lies(wider, -1)

    @property
    def leaning(self) -> float:
        """How far it speaks for the claim, in half widths of its interval where it has one."""
        distance = self._towards * (self.found.estimate - self.threshold)
        half = (self.found.high - self.found.low) / 2
        return distance / half if half > 0 else distance

    @property
    def _towards(self) -> int:
        return 1 if self.claimed == "above" else -1

    def _lies(self, wider: float, way: int) -> bool:
        """Whether the widened interval lies wholly on the claimed side (1) or on the other one (−1)."""
        found = self.found
        if way * self._towards > 0:
            return found.estimate - wider * (found.estimate - found.low) > self.threshold
        return found.estimate + wider * (found.high - found.estimate) < self.threshold


@dataclass(frozen=True)
class Finding:
    """A claim held against the finished cells of this study, or against the records of one scale together."""

    scale: str
    word: Word
    reasons: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    missing: tuple[str, ...]

    @property
    def deciding(self) -> tuple[Outcome, ...]:
        """The outcomes that the word follows from."""
        return tuple(outcome for outcome in self.outcomes if outcome.decides)

    @property
    def records(self) -> tuple[str, ...]:
        """The records that its outcomes are of; empty where they are of the finished cells."""
        return tuple(dict.fromkeys(outcome.record for outcome in self.outcomes if outcome.record))

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the data of its outcomes came from."""
        return tuple(sorted({source for outcome in self.outcomes for source in outcome.sources}))

    @property
    def seeds(self) -> int:
        """The smallest number of seeds of any outcome."""
        return min((outcome.seeds for outcome in self.deciding or self.outcomes), default=0)


@dataclass(frozen=True)
class Judged:
    """A claim with what each set of results says of it, the finding that counts first."""

    claim: Claim
    findings: tuple[Finding, ...]

    @property
    def head(self) -> Finding:
        """The finding that counts: of those where nothing is missing, else of all, the one of the largest scale."""
        return self.findings[0]


# --- claims ---------------------------------------------------------------------------------------


def judge_all(claims: Sequence[Claim], results: Results | None, records: Sequence[Record]) -> list[Judged]:
    """Every claim against the finished cells, where there are any, and against each record that says something of it.

    Raises UserError for a claim by a metric that no file of ``metrics/`` defines, or that has no better direction.
    """
    for claim in claims:
        _refuse_unknown(claim)
    sets = [] if results is None else [[Held(results)]]
    latest = sorted(records, key=lambda record: (record.facts.commit.date, record.name), reverse=True)
    for scale in dict.fromkeys(record.facts.scale for record in latest):
        sets.append([Held(one.results, one.name, one.measured) for one in latest if one.facts.scale == scale])
    return [Judged(claim, _ordered([judge(claim, *held) for held in sets], claim)) for claim in claims]


def judge(claim: Claim, *held: Held) -> Finding:
    """What results of one scale say of a claim; of several that measure the same, the first that has an interval."""
    outcomes: list[Outcome] = []
    missing: list[str] = []
    for statement in claim.statements:
        asked = [one for one in held if not statement.published_settings or _is_published(one, statement.datasets)]
        found, absent = _outcomes(statement, asked)
        outcomes += found
        missing += absent if statement.decides else ()
    told, named = tuple(outcomes), _each_once(missing)
    return Finding(held[0].scale, *_word(claim, told, named), told, named)


def _each_once(names: Sequence[str]) -> tuple[str, ...]:
    """Missing cells without those of any depth of which one is named beside."""
    stated = {DEPTH.sub("depth-*", name) for name in names if DEPTH.search(name)}
    return tuple(dict.fromkeys(name for name in names if name not in stated))


def measured(claims: Sequence[Claim], results: Results) -> pd.DataFrame:
    """What a record keeps of the comparisons of claims: ``records.MEASURED`` of each that has an interval, once."""
    found = [outcome for claim in claims for outcome in judge(claim, Held(results)).outcomes]
    rows = [
        {**{name: getattr(one, name) for name in MEASURED if hasattr(one, name)}, **vars(one.found)}
        for one in found
        if one.word != "no interval"
    ]
    return pd.DataFrame(rows, columns=list(MEASURED)).astype({"step": "Int64"}).drop_duplicates(ignore_index=True)


def _word(claim: Claim, outcomes: Sequence[Outcome], missing: Sequence[str]) -> tuple[Word, tuple[str, ...]]:
    deciding = [outcome for outcome in outcomes if outcome.decides]
    count = sum(outcome.count for outcome in deciding)
    if not claim.lacks and any(outcome.contradicts(count) for outcome in deciding):
        return "does not hold", ()
    if claim.lacks or missing:
        return "not yet measured", (claim.lacks,) if claim.lacks else ()
    reasons = dict.fromkeys(outcome.reason for outcome in deciding if outcome.reason)
    if any(outcome.seeds == 1 for outcome in deciding):
        reasons["one seed: what training leaves to chance does not show"] = None
    if not reasons and all(outcome.word == "as claimed" for outcome in deciding):
        return "holds", ()
    return "undecided", tuple(reasons) or ("within noise",)


def _ordered(findings: Sequence[Finding], claim: Claim) -> tuple[Finding, ...]:
    """Those that say something, the one that counts first; one that says nothing where there is no other."""

    def rank(finding: Finding) -> tuple[bool, int, bool]:
        size = ORDER.index(finding.scale) if finding.scale in ORDER else -1
        return finding.word != "not yet measured", size, not finding.records

    telling = [finding for finding in findings if finding.outcomes]
    if telling:
        return tuple(sorted(telling, key=rank, reverse=True))
    nearest = min(findings, key=lambda finding: len(finding.missing), default=None)
    missing = nearest.missing if nearest else _wanted(claim)
    return (Finding("", *_word(claim, (), missing), (), missing),)


def _wanted(claim: Claim) -> tuple[str, ...]:
    """The cells that a claim asks for, where there are no results at all."""
    named = (
        _name(dataset, side)
        for statement in claim.statements
        if statement.decides
        for dataset in statement.datasets
        for side in (statement.a, *statement.b)
    )
    return tuple(dict.fromkeys(named))


def _refuse_unknown(claim: Claim) -> None:
    known = catalogue.metrics()
    for statement in claim.statements:
        for metric in statement.metrics:
            if metric not in known:
                raise UserError(f"{CLAIMS.name}: {claim.id}: found the metric {metric}; allowed: {', '.join(known)}")
            if statement.relation == "better" and catalogue.metric_fact(metric, "better") == "one":
                raise UserError(
                    f"{CLAIMS.name}: {claim.id}: found better by {metric}, which is best at 1; allowed: above, below"
                )


# --- outcomes -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Measured:
    """A side of a comparison, found in results."""

    results: Results
    dataset: str
    system: System
    mode: str
    metric: str
    steps: tuple[int, int] | None
    per: "_Measured | None" = None

    @property
    def cells(self) -> list[CellFiles]:
        return self.results.scored(self.dataset, self.system)

    @property
    def values(self) -> np.ndarray | None:
        """The mean over the steps of each test sequence, (seeds, N), or None where these are not known."""
        name = f"{self.mode}/{self.metric}"
        stored = [cell.sequences for cell in self.cells]
        if not all(name in sequences for sequences in stored):
            return None
        first, last = self.steps or (1, stored[0][name].shape[1])
        return np.stack([sequences[name][:, first - 1 : last].mean(1) for sequences in stored])

    @property
    def groups(self) -> np.ndarray | None:
        return self.cells[0].sequences.get(GROUPS)

    @property
    def mean(self) -> float:
        """From the tables, which are there where values of each sequence are not."""
        if self.steps is None:
            spread = self.results.spread(self.dataset, self.system, self.metric, self.mode)
            assert spread is not None
            return spread.mean
        curve = self.results.curve(self.dataset, self.system, self.metric, self.mode)
        return float(curve[curve["step"].between(*self.steps)]["mean"].mean())

    @property
    def everything(self) -> "tuple[_Measured, ...]":
        return (self, *(self.per.everything if self.per else ()))

    def at(self, first: int, last: int) -> "_Measured":
        return replace(self, steps=(first, last))

    def __str__(self) -> str:
        first, last = self.steps or (0, 0)
        steps = "" if not self.steps else f", step {first}" if first == last else f", steps {first} to {last}"
        return f"{self.system}{steps}{f' per {self.per}' if self.per else ''}"


def _outcomes(statement: Statement, held: Sequence[Held]) -> tuple[list[Outcome], list[str]]:
    """What a statement's comparisons gave, and what some of them are without."""
    found: list[Outcome] = []
    missing: list[str] = []
    for dataset in statement.datasets if held else ():
        for metric in statement.metrics:
            for b in statement.b or (None,):
                told = [_outcome(statement, one, dataset, metric, b) for one in held]
                outcomes = [one for one in told if isinstance(one, Outcome)]
                if outcomes:
                    found.append(next((one for one in outcomes if one.word != "no interval"), outcomes[0]))
                else:
                    absent: list[list[str]] = [one for one in told if not isinstance(one, Outcome)]
                    fewest = min(absent, key=len)
                    missing += fewest
    return found, missing


def _outcome(statement: Statement, held: Held, dataset: str, metric: str, side: Side | None) -> Outcome | list[str]:
    """One comparison, or what it is without."""
    results = held.results
    a, b = _pair(results, dataset, statement.a, side)
    absent = [] if a else [_name(dataset, statement.a)]
    if side and not b:
        alike = a and side.model == a.model and not side.depth
        absent.append(_name(dataset, replace(side, depth=a.depth) if a and alike else side))
    if absent or not a:
        return absent
    sides = [_measured(results, dataset, metric, statement.mode, statement.a, a)]
    sides += [_measured(results, dataset, metric, statement.mode, side, b)] if side and b else []
    parts = [part for one in sides for part in one.everything]
    absent = [told for part in parts if (told := _absent(part))]
    if absent:
        return absent
    trained = [len(part.cells) for part in parts if part.system.loss]
    base = Outcome(
        kind=_kind(statement, sides),
        dataset=dataset,
        mode=statement.mode,
        metric=metric,
        a=_told(sides[0], dataset),
        b=_told(sides[1], dataset) if side else "",
        claimed=_claimed(statement, metric),
        threshold=_threshold(statement, sides),
        found=Interval(math.nan),
        sequences=min(int(cell.score["sequences"]) for part in parts for cell in part.cells),
        seeds=min(trained, default=2),  # baselines alone leave nothing to chance
        lengths=results.lengths(dataset, statement.mode),
        sources=tuple(sorted({cell.score["source"] for part in parts for cell in part.cells})),
        groups=next((cell.score.get("groups") for cell in parts[0].cells), None),
        leaky=any(results.is_leaky(part.dataset, part.system) for part in parts),
        decides=statement.decides,
        record=held.record,
    )
    measured = list(_at_each_step(statement, base, sides)) or [replace(base, found=_interval(base.kind, sides))]
    weakest = replace(min(measured, key=lambda outcome: outcome.leaning), count=len(measured))
    weakest = _as_recorded(weakest, held.known)
    return replace(weakest, reason=_without_interval(weakest, parts))


def _as_recorded(outcome: Outcome, known: pd.DataFrame) -> Outcome:
    """A comparison with the interval that a record keeps of it, where it has none of its own."""
    if outcome.word != "no interval" or known.empty:
        return outcome
    same = known["step"].isna() if outcome.step is None else known["step"].notna()
    for name in ("kind", "dataset", "mode", "metric", "a", "b", "claimed"):
        same &= known[name].fillna("") == getattr(outcome, name)
    if not same.any():
        return outcome
    row = known[same].iloc[0]
    found = Interval(*(float(row[name]) for name in ("estimate", "low", "high")))
    step = None if pd.isna(row["step"]) else int(row["step"])
    return replace(outcome, found=found, step=step, count=int(row["count"]))


def _at_each_step(statement: Statement, base: Outcome, sides: Sequence[_Measured]) -> Iterator[Outcome]:
    """The comparison at each step, where the statement asks for that."""
    horizon = base.lengths[1]
    if statement.is_of_steps:
        for step in range(1, horizon):
            later, earlier = sides[0].at(step + 1, step + 1), sides[0].at(step, step)
            yield replace(base, found=_interval("difference", (later, earlier)), step=step + 1)
    elif statement.each_step:
        for step in range(1, horizon + 1):
            yield replace(base, found=_interval(base.kind, [side.at(step, step) for side in sides]), step=step)


def _kind(statement: Statement, sides: Sequence[_Measured]) -> Kind:
    if statement.is_of_steps:
        return "step"
    if len(sides) == 1:
        return "value"
    apart = sides[0].dataset != sides[1].dataset or any(side.per for side in sides)
    return "ratio" if statement.times or apart else "difference"


def _threshold(statement: Statement, sides: Sequence[_Measured]) -> float:
    match _kind(statement, sides):
        case "ratio":
            return statement.times or 1.0
        case "value":
            return float(statement.level or 0.0)
    return 0.0


def _claimed(statement: Statement, metric: str) -> Literal["above", "below"]:
    if statement.relation == "better":
        return "above" if catalogue.metric_fact(metric, "better") == "higher" else "below"
    return "above" if statement.relation in ("above", "rising") else "below"


def _without_interval(outcome: Outcome, parts: Sequence[_Measured]) -> str:
    if outcome.word != "no interval":
        return ""
    if math.isnan(outcome.found.estimate):
        return f"{outcome.metric} is not defined there, or is 0 where it is divided by"
    if outcome.record:
        return "no interval: git keeps no score of each test sequence, and the record has none of this comparison"
    return (
        f"no interval: {parts[0].metric} is not among evaluation.compared, so no test sequence has a value of its own"
    )


def _absent(part: _Measured) -> str:
    """What a part of a comparison is without; empty where it is measured."""
    name = "/".join(filter(None, (part.dataset, part.system.model, _depth(part.system), part.system.loss)))
    if not part.cells:
        return name
    if len(part.results.values(part.dataset, part.system, part.metric, part.mode)):
        return ""
    return f"{part.metric} of {name}" + ("" if part.mode in part.results.modes(part.dataset) else f", {part.mode}")


def _depth(system: System) -> str:
    return f"depth-{system.depth}" if system.depth else ""


def _is_published(held: Held, datasets: Iterable[str]) -> bool:
    """Whether results are at published settings and, of these datasets, of published data."""
    sources = {cell.score["source"] for dataset in datasets for cell in held.results.scored(dataset)}
    return held.scale == PUBLISHED and sources <= {"official", "generated"}


# --- systems --------------------------------------------------------------------------------------


def _pair(results: Results, dataset: str, a: Side, b: Side | None) -> tuple[System | None, System | None]:
    """The systems of two sides: where neither says how deep and both are of one model, as deep as both have it."""
    first, second = _systems(results, dataset, a), _systems(results, dataset, b) if b else []
    if b and first and second and a.model == b.model and a.depth is None and b.depth is None:
        common = {system.depth for system in first} & {system.depth for system in second}
        first = [system for system in first if system.depth in common] or first
        second = [system for system in second if system.depth in common]
    return (first[-1] if first else None), (second[-1] if second else None)


def _systems(results: Results, dataset: str, side: Side) -> list[System]:
    """The scored systems that a side may mean, by depth; of its losses the first that there is."""
    scored = {cell.system for cell in results.scored(side.dataset or dataset) if cell.model == side.model}
    if not side.losses:
        return [system for system in scored if system.loss is None]
    for loss in side.losses:
        found = [system for system in scored if system.loss == loss and side.depth in (None, system.depth)]
        if found:
            return sorted(found, key=lambda system: system.depth or 0)
    return []


def _measured(results: Results, dataset: str, metric: str, mode: str, side: Side, system: System) -> _Measured:
    own = side.dataset or dataset
    per = None
    if side.per:
        found = _systems(results, side.per.dataset or own, side.per)
        deep = [one for one in found if one.depth == system.depth] or found
        chosen = deep[-1] if deep else System(side.per.model, (side.per.losses or (None,))[0], side.per.depth)
        per = _measured(results, own, metric, mode, side.per, chosen)
    return _Measured(results, own, system, mode, metric, side.steps, per)


def _told(side: _Measured, dataset: str) -> str:
    """A side in a line about a dataset: another one is named."""
    if side.per and side.per.dataset != side.dataset:
        own = _told(replace(side, per=None), dataset)
        return (
            f"{own} per the same on {side.per.dataset}" if side.per.system == side.system else f"{own} per {side.per}"
        )
    return f"{side} on {side.dataset}" if side.dataset != dataset else str(side)


def _name(dataset: str, side: Side) -> str:
    """The cells that a side asks for, as they are named, with * for any depth."""
    parts: Iterable[Any] = (f"depth-{side.depth or '*'}", " or ".join(side.losses)) if side.losses else ()
    return "/".join((side.dataset or dataset, side.model, *parts))


# --- intervals ------------------------------------------------------------------------------------


def _interval(kind: Kind, sides: Sequence[_Measured]) -> Interval:
    """The quantity of a comparison, with its interval where every side has values of each test sequence."""
    if kind == "value":
        return _of(sides[0])
    a, b = sides
    if kind == "ratio":
        return _ratio(a, b)
    tabled = _tabled(a, b)
    if tabled:
        return tabled
    known = a.values, b.values
    if known[0] is None or known[1] is None:
        return Interval(a.mean - b.mean)
    found = _compare(known[0], known[1], a.groups)
    return Interval(found.difference, found.low, found.high)


def _of(side: _Measured) -> Interval:
    if side.per:
        return _ratio(replace(side, per=None), side.per)
    values = side.values
    if values is None:
        return Interval(side.mean)
    found = _compare(values, np.zeros((1, values.shape[1])), side.groups)
    return Interval(found.difference, found.low, found.high)


def _ratio(a: _Measured, b: _Measured) -> Interval:
    """Of paired sides, or of two that were measured on other sequences. NaN where one is divided by 0 or less."""
    if a.dataset != b.dataset or a.per or b.per:
        return _unpaired(_of(a), _of(b))
    first, second = a.values, b.values
    above, below = (a.mean, b.mean) if first is None or second is None else (first.mean(), second.mean())
    if not below > 0:
        return Interval(math.nan)
    ratio = float(above / below)
    if first is None or second is None:
        return Interval(ratio)
    found = _compare(first, ratio * second, a.groups)
    return Interval(ratio, ratio + found.low / float(below), ratio + found.high / float(below))


def _unpaired(a: Interval, b: Interval) -> Interval:
    if not (a.estimate > 0 and b.estimate > 0):
        return Interval(math.nan)
    ratio = a.estimate / b.estimate

    def end(one: float, other: float) -> float:
        """The distance of an end, of both parts together, on the logarithm."""
        if one <= 0 or other <= 0 or math.inf in (one, other):
            return math.inf
        return math.hypot(math.log(one / a.estimate), math.log(other / b.estimate))

    if math.isnan(a.low) or math.isnan(b.low):
        return Interval(ratio)
    return Interval(ratio, ratio * math.exp(-end(a.low, b.high)), ratio * math.exp(min(end(a.high, b.low), 700.0)))


def _tabled(a: _Measured, b: _Measured) -> Interval | None:
    """The row of the table of comparisons, where these two stand in it over the whole horizon."""
    if a.steps or b.steps or a.dataset != b.dataset:
        return None
    rows = a.results.compared(a.dataset, a.metric, a.mode)
    for first, second, sign in ((a, b, 1), (b, a, -1)):
        row = rows[(rows["a"] == str(first.system)) & (rows["b"] == str(second.system))]
        if len(row):
            ends = sorted(sign * float(row[name].iloc[0]) for name in ("low", "high"))
            return Interval(sign * float(row["difference"].iloc[0]), *ends)
    return None


def _compare(a: np.ndarray, b: np.ndarray, groups: np.ndarray | None) -> Any:
    count = a.shape[1]
    if groups is None and count > BLOCKS:
        groups = np.arange(count) * BLOCKS // count
    return compare(a, b, groups=groups)
