"""How a run shows that it is alive: a live bar on a terminal, one plain line per interval elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

AFFECTS_NUMBERS = False
INTERVAL_SECONDS = 30


@runtime_checkable
class Progress(Protocol):
    """Told after every step."""

    def __call__(self, step: int, steps: int, loss: float) -> None:
        """``step`` steps of ``steps`` are done; ``loss`` is the last one's."""


@contextmanager
def progress(cell: str) -> Iterator[Progress]:
    """The progress of one cell, on standard error."""
    if sys.stderr.isatty():
        with _bar(cell) as bar:
            yield bar
    else:
        yield _Lines(cell)


class _Lines:
    def __init__(self, cell: str) -> None:
        self.cell = cell
        self.begun = self.told = time.monotonic()
        self.first: int | None = None

    def __call__(self, step: int, steps: int, loss: float) -> None:
        self.first = step - 1 if self.first is None else self.first
        now = time.monotonic()
        if now - self.told < INTERVAL_SECONDS and step < steps:
            return
        self.told = now
        rate = (step - self.first) / max(now - self.begun, 1e-9)
        left = (steps - step) / rate
        print(
            f"{self.cell}: step {step}/{steps}, loss {loss:.4g}, {rate:.1f} steps/s, {left:.0f} s left", file=sys.stderr
        )


@contextmanager
def _bar(cell: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(cell), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        task = bars.add_task(cell, loss="")

        def tell(step: int, steps: int, loss: float) -> None:
            bars.update(task, completed=step, total=steps, loss=f"loss {loss:.4g}")

        yield tell
