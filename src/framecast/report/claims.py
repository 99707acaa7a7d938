"""What the sources claim, and what is so: for the page, as text, as Markdown and as JSON.

The findings are those of ``results.claims``; here they are only told. None is told without the scale, the data, the
seeds and the protocol that it rests on.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from framecast.published import load_all
from framecast.published.claims import Claim, load_claims
from framecast.report.numbers import Number, scientific
from framecast.report.tables import SOURCES
from framecast.results import Results
from framecast.results.claims import PUBLISHED, WORDS, Finding, Judged, Outcome, Word, judge_all
from framecast.results.records import Record

DECIDED: tuple[Word, ...] = ("holds", "does not hold")
#: How a quantity is written, by what is compared.
QUANTITIES = {"value": "a", "difference": "a − b", "ratio": "a / b", "step": "each step − the one before"}
#: The same between two names.
JOINED = {"difference": "−", "ratio": "/"}
#: What a comparison says of itself to a program, besides its numbers.
TOLD = ("record", "dataset", "metric", "protocol", "a", "b", "asked", "rests_on")
#: Words for how many claims have a finding.
COUNTED = {"holds": "hold", "does not hold": "do not", "undecided": "undecided", "not yet measured": "not yet measured"}


@dataclass(frozen=True)
class Line:
    """An outcome as it is read: what was asked, what was measured, and what that says."""

    record: str
    dataset: str
    a: str
    b: str
    metric: str
    protocol: str
    asked: str
    quantity: str  #: what was measured, with the sides and steps by name
    claimed: str  #: on which side of what the claim puts it
    estimate: Number
    low: Number | None
    high: Number | None
    rests_on: str
    seen: str
    decides: bool
    leaky: bool


@dataclass(frozen=True)
class Evidence:
    """A finding as it is read; ``records`` is empty for the results of the page itself."""

    records: tuple[str, ...]
    word: Word
    badges: tuple[str, ...]
    reasons: tuple[str, ...]
    missing: tuple[str, ...]
    lines: tuple[Line, ...]
    weakest: Line | None  #: the deciding outcome that speaks least for the claim

    @property
    def why(self) -> str:
        """Why nothing is decided, in few words; empty where something is."""
        if self.word in DECIDED:
            return ""
        if self.reasons or not self.missing:
            return "; ".join(reason.partition(":")[0] for reason in self.reasons)
        more = len(self.missing) - 1
        return f"no score of {self.missing[0]}" + (f" and {more} more" if more else "")


@dataclass(frozen=True)
class Told:
    """A claim as it is read, the evidence that counts first."""

    claim: Claim
    author: str
    evidence: tuple[Evidence, ...]

    @property
    def head(self) -> Evidence:
        """What the claim's own line tells."""
        return self.evidence[0]

    @property
    def is_measured(self) -> bool:
        """Whether anything of it is, be it a comparison that decides nothing."""
        return any(evidence.lines for evidence in self.evidence)


@dataclass(frozen=True)
class Part:
    """The section: how many claims have which finding, and the claims of each source."""

    counts: tuple[tuple[Word, str, int], ...]
    decided: int
    published: int  #: of the decided ones those that are at published settings
    groups: tuple[tuple[str, tuple[Told, ...]], ...]


def told(results: Results | None, records: Sequence[Record]) -> tuple[Told, ...]:
    """Every claim that is shipped, judged by the finished cells, where there are any, and by the recorded runs."""
    authors = {source.id: source.author for source in load_all()}
    judged = judge_all(load_claims(), results, records)
    return tuple(Told(one.claim, authors[one.claim.source], _evidence(one)) for one in judged)


def part(claims: Sequence[Told]) -> Part:
    """The section of the page."""
    count = Counter(claim.head.word for claim in claims)
    authors = dict.fromkeys(claim.author for claim in claims)
    groups = ((author, tuple(claim for claim in claims if claim.author == author)) for author in authors)
    decided = [claim for claim in claims if claim.head.word in DECIDED]
    published = sum("published settings" in claim.head.badges for claim in decided)
    counts = tuple((word, COUNTED[word], count[word]) for word in WORDS)
    return Part(counts, len(decided), published, tuple(groups))


def _evidence(judged: Judged) -> tuple[Evidence, ...]:
    return tuple(_of(judged.claim, finding) for finding in judged.findings)


def _of(claim: Claim, finding: Finding) -> Evidence:
    lines = tuple(_line(claim, outcome) for outcome in finding.outcomes)
    deciding = [place for place, outcome in enumerate(finding.outcomes) if outcome.decides]
    weakest = min(deciding, key=lambda place: finding.outcomes[place].leaning, default=None)
    return Evidence(
        finding.records,
        finding.word,
        tuple(_badges(finding)),
        finding.reasons,
        finding.missing,
        lines,
        None if weakest is None else lines[weakest],
    )


def _badges(finding: Finding) -> Iterator[str]:
    """What must not go unsaid beside a finding."""
    if not finding.outcomes:
        return
    yield "published settings" if finding.scale == PUBLISHED else "reduced scale"
    yield from dict.fromkeys(SOURCES[source] for source in finding.sources)
    yield f"{finding.seeds} seed{'s' * (finding.seeds != 1)}"
    if any(outcome.leaky for outcome in finding.outcomes):
        yield "leaky"


def _line(claim: Claim, outcome: Outcome) -> Line:
    found = outcome.found
    known = not math.isnan(found.low)
    estimate, low, high = (
        _number(claim, outcome, name, value)
        for name, value in (("estimate", found.estimate), ("low", found.low), ("high", found.high))
    )
    return Line(
        record=outcome.record,
        dataset=outcome.dataset,
        a=outcome.a,
        b=outcome.b,
        metric=outcome.metric,
        protocol=_protocol(outcome),
        asked=f"{QUANTITIES[outcome.kind]} {_claimed(outcome)}",
        quantity=_quantity(outcome),
        claimed=_claimed(outcome),
        estimate=estimate,
        low=low if known else None,
        high=high if known else None,
        rests_on=_rests_on(outcome),
        seen=outcome.word,
        decides=outcome.decides,
        leaky=outcome.leaky,
    )


def _claimed(outcome: Outcome) -> str:
    threshold = scientific(outcome.threshold)
    return f"{outcome.claimed} {threshold.rstrip('0').rstrip('.') if '.' in threshold else threshold}"


def _quantity(outcome: Outcome) -> str:
    """What was measured; of many steps the one that is shown."""
    told = f"{outcome.a} {JOINED[outcome.kind]} {outcome.b}" if outcome.b else outcome.a
    if outcome.kind == "step" and outcome.step:
        told = f"{outcome.a}, step {outcome.step} − step {outcome.step - 1}"
    elif outcome.step:
        told = f"{told}, step {outcome.step}"
    return f"{told} (the weakest of {outcome.count})" if outcome.step else told


def _protocol(outcome: Outcome) -> str:
    if not outcome.sequences:
        return "once for each training"
    return f"{outcome.mode}, {outcome.lengths[0]} → {outcome.lengths[1]}"


def _rests_on(outcome: Outcome) -> str:
    seeds = f"{outcome.seeds} seed{'s' * (outcome.seeds != 1)}"
    groups = f" of {outcome.groups} groups" if outcome.groups else ""
    return f"{outcome.sequences} sequences{groups}, {seeds}" if outcome.sequences else seeds


def _number(claim: Claim, outcome: Outcome, name: str, value: float) -> Number:
    data = {"claim": claim.id, "record": outcome.record, "dataset": outcome.dataset, "mode": outcome.mode}
    data |= {"metric": outcome.metric, "a": outcome.a, "b": outcome.b, "statistic": f"claim-{name}"}
    written = "not defined" if math.isnan(value) else scientific(value)
    return Number(written, {**data, "value": repr(float(value))})


# --- other forms ----------------------------------------------------------------------------------


def as_text(claims: Sequence[Told]) -> str:
    """A line for each claim, and under it what its finding rests on."""
    lines = []
    for one in claims:
        lines.append(f"{one.claim.id:3}  {one.head.word:16}  {one.claim.claim}")
        lines += [f"     {told}" for told in (f"{one.author}, {one.claim.where}", *_because(one.head))]
    return "\n".join([*lines, "", _counted(claims), ""])


def as_markdown(claims: Sequence[Told], records: str = "reports/records") -> str:
    """A table in Markdown; ``records`` is the folder of the records as seen from the page."""
    header = ("claim", "what is claimed", "finding", "the deciding comparison that speaks least for it", "rests on")
    rows = [
        (f"{one.claim.id}, {one.author}, {one.claim.where}", one.claim.claim, *_cells(one, records)) for one in claims
    ]
    return f"{_counted(claims)}\n\n{markdown_table(header, rows)}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, a line for each row."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(_safe, line))} |\n" for line in lines)


def as_json(claims: Sequence[Told]) -> str:
    """A list of claims with every finding and outcome, for programs; a number that is not known is null."""
    return json.dumps([_tree(one) for one in claims], indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _counted(claims: Sequence[Told]) -> str:
    count = Counter(one.head.word for one in claims)
    return f"{len(claims)} claims: " + ", ".join(f"{count[word]} {COUNTED[word]}" for word in WORDS) + "."


def _because(evidence: Evidence) -> Iterator[str]:
    if evidence.badges:
        folders = (f"reports/records/{name}" for name in evidence.records)
        where = f"recorded in {', '.join(folders)}" if evidence.records else "this study"
        yield f"{where}: {', '.join(evidence.badges)}"
    if evidence.weakest:
        yield _measured(evidence.weakest)
    yield from evidence.reasons
    if evidence.missing:
        yield f"missing: {', '.join(evidence.missing)}"


def _measured(line: Line) -> str:
    ends = f" [{line.low.text}, {line.high.text}]" if line.low and line.high else ""
    where = f"{line.metric} on {line.dataset}, {line.protocol}"
    told = f"{where}: {line.quantity} = {line.estimate.text}{ends}, claimed {line.claimed}"
    return f"{told}: {line.seen}" if ends else told


def _cells(one: Told, records: str) -> tuple[str, str, str]:
    head = one.head
    why = "; ".join(head.reasons) or head.why
    where = ", ".join(f"[{name}]({records}/{name})" for name in head.records)
    rests = "; ".join(filter(None, (where, ", ".join(head.badges), head.weakest.rests_on if head.weakest else "")))
    return (
        f"**{head.word}**" + (f": {why}" if why else ""),
        _measured(head.weakest) if head.weakest else "–",
        rests or "–",
    )


def _safe(cell: str) -> str:
    return cell.replace("|", "\\|")


def _tree(one: Told) -> dict[str, Any]:
    claim = one.claim
    about = {"id": claim.id, "source": claim.source, "where": claim.where, "claim": claim.claim}
    told = {"protocol": claim.protocol, "note": claim.note, "finding": one.head.word}
    return about | told | {"evidence": [_evidence_tree(evidence) for evidence in one.evidence]}


def _evidence_tree(evidence: Evidence) -> dict[str, Any]:
    return {
        "records": list(evidence.records),
        "finding": evidence.word,
        "rests_on": list(evidence.badges),
        "reasons": list(evidence.reasons),
        "missing": list(evidence.missing),
        "comparisons": [_line_tree(line) for line in evidence.lines],
    }


def _line_tree(line: Line) -> dict[str, Any]:
    told = {name: getattr(line, name) for name in TOLD}
    ends = {name: _value(getattr(line, name)) for name in ("estimate", "low", "high")}
    return told | ends | {"seen": line.seen, "decides": line.decides, "leaky": line.leaky}


def _value(number: Number | None) -> float | None:
    value = math.nan if number is None else float(number.data["value"])
    return value if math.isfinite(value) else None
