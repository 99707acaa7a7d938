"""Two sides compared: all that is told of them, however it is written."""

from collections.abc import Iterable
from dataclasses import dataclass

from framecast.upkeep.diff import causes, changes, sides

AFFECTS_NUMBERS = False


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
