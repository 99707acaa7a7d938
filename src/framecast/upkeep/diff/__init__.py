"""What moved between two commits, by the tables that git keeps: nothing is run, and nothing is checked out.

``sides`` reads the tables and what made them, ``changes`` says of every number what became of it and what counts as
noise, ``causes`` what of a cell's parameters and code is another. ``show`` writes it for a terminal, ``markdown`` for a
pull request, ``machine`` as JSON.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from framecast.upkeep.diff import causes, changes, sides

AFFECTS_NUMBERS = False
Form = Literal["text", "markdown", "json"]


@dataclass(frozen=True)
class Diff:
    """Everything that is told of two sides, restricted to some metrics and perhaps to one study."""

    before: sides.Side
    after: sides.Side
    metrics: tuple[str, ...]
    numbers: tuple[changes.Number, ...]
    findings: tuple[changes.Moved, ...]
    causes: tuple[causes.Cause, ...]
    unknown: tuple[str, ...]  #: what cannot be told, a line each


def compare(named: Iterable[str] = (), metrics: Iterable[str] = (), study: str = "") -> Diff:
    """Compare two sides; see ``sides.sides`` for how they are named, and ``sides.metrics_of`` for the metrics.

    Raises UserError, one line, for whatever is not there or is damaged.
    """
    before, after = sides.sides(named)
    wanted = sides.metrics_of(before, after, metrics)
    cells = sides.cells_of(before, after, study) if study else None
    numbers = changes.numbers(before, after, wanted, cells)
    return Diff(
        before=before,
        after=after,
        metrics=wanted,
        numbers=tuple(numbers),
        findings=tuple(changes.findings(before, after, numbers)),
        causes=tuple(causes.causes(before, after, cells)),
        unknown=tuple(causes.unknown(before, after)),
    )


def written(found: Diff, form: Form, *, everything: bool = False) -> str:
    """A comparison as text for a terminal, as Markdown for a pull request, or as JSON; it ends in a line break."""
    from framecast.upkeep.diff import machine, markdown, show

    if form == "json":
        return machine.written(found)
    return markdown.written(found) if form == "markdown" else show.written(found, everything=everything)
