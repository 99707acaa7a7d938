"""Whether what the sources claim is so: each claim of ``published.claims`` held against results.

Every comparison of a claim's statements becomes an *outcome*: a measured quantity, its 95 % interval
(``results.sides``), and the threshold that the claim puts it above or below.

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
from typing import Literal, get_args

import pandas as pd

from framecast.errors import UserError
from framecast.published import CLAIMS
from framecast.published.claims import Claim, Side, Statement
from framecast.results import Results, System
from framecast.results.records import MEASURED, Record
from framecast.results.sides import Interval, Kind, Measured, asked_for, interval, label, measure, pair
from framecast.results.trainings import MEASURES
from framecast.study import catalogue

Word = Literal["holds", "does not hold", "undecided", "not yet measured"]
Seen = Literal["as claimed", "the other way", "no difference", "no interval"]
WORDS: tuple[Word, ...] = get_args(Word)

PUBLISHED = "paper"  #: the scale of the published settings
PUBLISHED_DATA = {"official", "generated"}  #: where these come from
ORDER = ("demo", "laptop", PUBLISHED)  #: scales, by how much they say; one of another name stands before them
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
        return self.results.scale


@dataclass(frozen=True)
class Outcome:
    """One comparison of a statement on one dataset by one metric.

    ``b`` is empty where ``a`` is held against a level or itself. ``count`` is how many comparisons it stands for: of
    those of each step it is the one that speaks least for the claim, at ``step``. ``seeds`` is the smaller number of
    the two, ``groups`` how many persons, subjects or trajectories share the sequences, where they do. A measure of the
    training is of no ``sequences``.
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
    def is_defined(self) -> bool:
        """Whether there is a number at all."""
        return not math.isnan(self.found.estimate)

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
        """The finding that counts: of those where nothing is missing and no interval either, else of those where
        nothing is missing, else of all, the one of the largest scale.
        """
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
    others = {source for outcome in deciding for source in outcome.sources if claim.of_data} - PUBLISHED_DATA
    if not claim.lacks and not others and any(outcome.contradicts(count) for outcome in deciding):
        return "does not hold", ()
    if claim.lacks or missing:
        return "not yet measured", (claim.lacks,) if claim.lacks else ()
    if others:
        return "undecided", (f"it is said of the published data, which these are not: {', '.join(sorted(others))}",)
    reasons = dict.fromkeys(outcome.reason for outcome in deciding if outcome.reason)
    if any(outcome.seeds == 1 for outcome in deciding):
        reasons["one seed: what training leaves to chance does not show"] = None
    if not reasons and all(outcome.word == "as claimed" for outcome in deciding):
        return "holds", ()
    return "undecided", tuple(reasons) or ("within noise",)


def _ordered(findings: Sequence[Finding], claim: Claim) -> tuple[Finding, ...]:
    """Those that say something, the one that counts first; one that says nothing where there is no other."""

    def rank(finding: Finding) -> tuple[bool, bool, int, bool]:
        size = ORDER.index(finding.scale) if finding.scale in ORDER else -1
        is_judged = finding.word != "undecided" or all(one.word != "no interval" for one in finding.deciding)
        return finding.word != "not yet measured", is_judged, size, not finding.records

    telling = [finding for finding in findings if finding.outcomes]
    if telling:
        return tuple(sorted(telling, key=rank, reverse=True))
    nearest = min(findings, key=lambda finding: len(finding.missing), default=None)
    missing = nearest.missing if nearest else _wanted(claim)
    return (Finding("", *_word(claim, (), missing), (), missing),)


def _wanted(claim: Claim) -> tuple[str, ...]:
    """The cells that a claim asks for, where there are no results at all."""
    named = (
        asked_for(dataset, side)
        for statement in claim.statements
        if statement.decides
        for dataset in statement.datasets
        for side in (statement.a, *statement.b)
    )
    return tuple(dict.fromkeys(named))


def _refuse_unknown(claim: Claim) -> None:
    known = (*catalogue.metrics(), *MEASURES)
    for statement in claim.statements:
        for metric in statement.metrics:
            if metric in MEASURES and (statement.relation not in ("above", "below") or statement.each_step):
                raise UserError(
                    f"{CLAIMS.name}: {claim.id}: found {statement.relation} by {metric}, which each training has once; "
                    "allowed: above, below, without each_step"
                )
            if metric not in known:
                raise UserError(f"{CLAIMS.name}: {claim.id}: found the metric {metric}; allowed: {', '.join(known)}")
            if statement.relation == "better" and catalogue.metric_fact(metric, "better") == "one":
                raise UserError(
                    f"{CLAIMS.name}: {claim.id}: found better by {metric}, which is best at 1; allowed: above, below"
                )


# --- outcomes -------------------------------------------------------------------------------------


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
    a, b = pair(results, dataset, statement.a, side)
    absent = [] if a else [asked_for(dataset, statement.a)]
    if side and not b:
        alike = a and side.model == a.model and not side.depth
        absent.append(asked_for(dataset, replace(side, depth=a.depth) if a and alike else side))
    if absent or not a:
        return absent
    sides = [measure(results, dataset, metric, statement.mode, statement.a, a)]
    sides += [measure(results, dataset, metric, statement.mode, side, b)] if side and b else []
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
        a=label(sides[0], dataset),
        b=label(sides[1], dataset) if side else "",
        claimed=_claimed(statement, metric),
        threshold=_threshold(statement, sides),
        found=Interval(math.nan),
        sequences=0 if sides[0].is_of_training else _sequences(parts),
        seeds=min(trained, default=2),  # baselines alone leave nothing to chance
        lengths=results.lengths(dataset, statement.mode),
        sources=tuple(sorted({cell.score["source"] for part in parts for cell in part.cells})),
        groups=next((cell.score.get("groups") for cell in parts[0].cells), None),
        leaky=any(results.is_leaky(part.dataset, part.system) for part in parts),
        decides=statement.decides,
        record=held.record,
    )
    measured = list(_at_each_step(statement, base, sides)) or [replace(base, found=interval(base.kind, sides))]
    weakest = min(measured, key=lambda outcome: (outcome.is_defined, outcome.leaning))
    weakest = replace(weakest, count=len(measured))
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


def _at_each_step(statement: Statement, base: Outcome, sides: Sequence[Measured]) -> Iterator[Outcome]:
    """The comparison at each step, where the statement asks for that."""
    horizon = base.lengths[1]
    if statement.is_of_steps:
        for step in range(1, horizon):
            later, earlier = sides[0].at(step + 1, step + 1), sides[0].at(step, step)
            yield replace(base, found=interval("difference", (later, earlier)), step=step + 1)
    elif statement.each_step:
        for step in range(1, horizon + 1):
            yield replace(base, found=interval(base.kind, [side.at(step, step) for side in sides]), step=step)


def _sequences(parts: Sequence[Measured]) -> int:
    return min(int(cell.score["sequences"]) for part in parts for cell in part.cells)


def _kind(statement: Statement, sides: Sequence[Measured]) -> Kind:
    if statement.is_of_steps:
        return "step"
    if len(sides) == 1:
        return "value"
    apart = sides[0].dataset != sides[1].dataset or any(side.per for side in sides)
    return "ratio" if statement.times or apart else "difference"


def _threshold(statement: Statement, sides: Sequence[Measured]) -> float:
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


def _without_interval(outcome: Outcome, parts: Sequence[Measured]) -> str:
    if outcome.word != "no interval":
        return ""
    if outcome.metric in MEASURES:
        return f"{outcome.metric} is measured on each training, and nothing here has it of all of them"
    if not outcome.is_defined:
        return f"{outcome.metric} is not defined there, or is 0 where it is divided by"
    if outcome.record:
        return "no interval: git keeps no score of each test sequence, and the record has none of this comparison"
    return (
        f"no interval: {parts[0].metric} is not among evaluation.compared, so no test sequence has a value of its own"
    )


def _absent(part: Measured) -> str:
    """What a part of a comparison is without; empty where it is measured."""
    name = "/".join(filter(None, (part.dataset, part.system.model, _depth(part.system), part.system.loss)))
    if not part.cells:
        return name
    if part.mode not in part.results.modes(part.dataset):
        return f"{part.metric} of {name}, {part.mode}"
    _, horizon = part.results.lengths(part.dataset, part.mode)
    if part.steps and part.steps[1] > horizon:
        return f"step {part.steps[1]} of {name}, which forecasts {horizon}"
    is_there = part.is_of_training or len(part.results.values(part.dataset, part.system, part.metric, part.mode))
    return "" if is_there else f"{part.metric} of {name}"


def _depth(system: System) -> str:
    return f"depth-{system.depth}" if system.depth else ""


def _is_published(held: Held, datasets: Iterable[str]) -> bool:
    """Whether results are at published settings and, of these datasets, of published data."""
    sources = {cell.score["source"] for dataset in datasets for cell in held.results.scored(dataset)}
    return held.scale == PUBLISHED and sources <= PUBLISHED_DATA
