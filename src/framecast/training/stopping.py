"""Stopping in time: a time budget and the signals of a cluster become a request that the loop honours between steps."""

import signal
import time
from types import FrameType

AFFECTS_NUMBERS = False
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Stop:
    """Asked at every step boundary: ``reason`` is None to go on, else why to save a checkpoint and leave.

    The budget counts seconds since ``started`` (monotonic clock) and keeps the longest step so far, twice, in reserve.
    It never ends a run before its first step: however small it is, calling again and again gets to the end.
    """

    def __init__(self, budget: float | None = None, started: float | None = None) -> None:
        self.started = time.monotonic() if started is None else started
        self.budget = budget
        self.signal: signal.Signals | None = None
        self.budget_is_used_up = False  #: whether that, and not a signal, was the reason
        self._longest = 0.0
        self._last: float | None = None

    def listen(self) -> None:
        """Turn SIGTERM, SIGINT and SIGUSR1 into requests."""
        for number in SIGNALS:
            signal.signal(number, self._note)

    def reason(self) -> str | None:
        """Why to stop now, in words for the log."""
        now, before, self._last = time.monotonic(), self._last, time.monotonic()
        if self.signal is not None:
            return f"received {self.signal.name}"
        if before is None:
            return None
        self._longest = max(self._longest, now - before)
        if self.budget is not None and now - self.started + 2 * self._longest >= self.budget:
            self.budget_is_used_up = True
            return f"the time budget of {self.budget:g} s is used up"
        return None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
