"""How a measurement is taken and told."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, the figure, the reference beside it, and the goal.

    ``meets`` is None where the figure is reported without a goal.
    """

    name: str
    ours: str
    reference: str
    figure: float
    unit: str
    goal: str
    meets: bool | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def paired(ours: Callable[[], Any], reference: Callable[[], Any], repeats: int = 5) -> tuple[float, float, float]:
    """Median seconds of both, run in turn (A B A B …) so that drift hits both; and the median ratio reference/ours."""
    ours()
    reference()
    pairs = [(_seconds(ours), _seconds(reference)) for _ in range(repeats)]
    mine, theirs = zip(*pairs, strict=True)
    return statistics.median(mine), statistics.median(theirs), statistics.median(b / a for a, b in pairs)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
