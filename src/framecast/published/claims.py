"""What the sources claim in words, as comparisons that can be measured: ``claims.yaml``.

A claim is one or several *statements*. Each compares a side ``a`` with another side, with a level, or with itself from
step to step, by one metric on one dataset, and says on which side of a threshold the measured quantity lies:

    difference   q = ā − b̄              against 0              sides on one dataset
    ratio        q = ā / b̄              against ``times``       where ``times`` or ``per`` is given, or datasets differ
    value        q = ā                  against ``level``
    step         q = ā_{k+1} − ā_k       against 0, every k      ``rising`` and ``falling``

ā is the mean over test sequences, seeds and steps; with ``per`` it is first divided by that of another side. Whether a
statement is so is decided in ``framecast.results.claims``; nothing here is a finding.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from framecast.errors import UserError
from framecast.published import CLAIMS, Mode, PositiveFloat, PositiveInt, Strict, load_all, read_as

Relation = Literal["better", "above", "below", "rising", "falling"]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Names = Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Side(Strict):
    """A system in a comparison.

    Without ``losses`` it is a baseline. Of several losses the first that was trained counts: a reduced scale may have a
    stand-in of a loss. Without ``depth`` it is the deepest that was trained (of two sides of one model: the deepest
    that both have), and without ``dataset`` it is scored on the statement's. ``steps`` are the first and the last
    forecast step that count, from 1.
    """

    model: str
    losses: tuple[str, ...] = ()
    depth: PositiveInt | None = None
    dataset: str | None = None
    steps: tuple[PositiveInt, PositiveInt] | None = None
    per: "Side | None" = None

    def __post_init__(self) -> None:
        if self.steps and self.steps[0] > self.steps[1]:
            raise ValueError("steps must be [first, last] with first ≤ last")


@dataclass(frozen=True)
class Statement(Strict):
    """A comparison of ``a`` with each side of ``b`` (or a level, or each step with the next), by each metric on each
    dataset.

    ``better`` is above or below 0, as the metric improves. One that does not ``decide`` is told beside the others. One
    that needs ``published_settings``, since its level is a number of the source, is asked at no other scale and of no
    other data.
    """

    datasets: Names
    metrics: Names
    a: Side
    relation: Relation
    b: tuple[Side, ...] = ()
    level: Finite | None = None
    times: PositiveFloat | None = None
    mode: Mode = "free-running"
    each_step: bool = False
    decides: bool = True
    published_settings: bool = False

    def __post_init__(self) -> None:
        if self.is_of_steps and (self.b or self.level is not None or self.times or self.each_step):
            raise ValueError(f"{self.relation} compares a with itself: it takes no b, level, times or each_step")
        if not self.is_of_steps and bool(self.b) == (self.level is not None):
            raise ValueError("a is compared with the sides of b or with a level: give one of the two")
        if self.relation == "better" and not self.b:
            raise ValueError("better needs a side b: with a level, write above or below")
        if self.times and not self.b:
            raise ValueError("times is what a / b is held against: it needs a side b")

    @property
    def is_of_steps(self) -> bool:
        """Whether each step is compared with the next."""
        return self.relation in ("rising", "falling")


@dataclass(frozen=True)
class Claim(Strict):
    """What a source says, in our words, where it says it, and what it saw that by (``protocol``).

    It holds when each of its deciding statements does. ``lacks`` says what would have to be measured besides, and is
    not: then it is not decided, whatever the statements say. What is said ``of_data``, of the published data
    themselves, no other data decide.
    """

    id: Annotated[str, Field(pattern=r"^[A-Z][0-9]+$")]
    source: str
    where: str
    claim: str
    protocol: str
    statements: tuple[Statement, ...] = ()
    lacks: str = ""
    of_data: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        if not (self.lacks or any(statement.decides for statement in self.statements)):
            raise ValueError("a claim needs a statement that decides it, or lacks, which says why there is none")


@cache
def load_claims() -> tuple[Claim, ...]:
    """The claims that are shipped."""
    return load(CLAIMS)


def load(path: Path) -> tuple[Claim, ...]:
    """Read and check a file of claims.

    Raises UserError naming file, key and what was found when it is not of the form above, when an id stands twice, or
    when a claim is of a source that has no file here.
    """
    claims: tuple[Claim, ...] = read_as(tuple[Claim, ...], path)
    twice = [name for name, count in Counter(claim.id for claim in claims).items() if count > 1]
    if twice:
        raise UserError(f"{path.name}: found the id {twice[0]} twice; allowed: each once")
    sources = [source.id for source in load_all()]
    for claim in claims:
        if claim.source not in sources:
            raise UserError(f"{path.name}: {claim.id}.source: found {claim.source}; allowed: {', '.join(sources)}")
    return claims
