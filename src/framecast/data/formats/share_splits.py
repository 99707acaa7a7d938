"""Share splits in prices as traded: found from the prices themselves, and undone.

After an n:1 split a holder has n shares for one and each trades at 1/n of the price. A series as traded then drops by
that factor overnight though nobody lost anything; min–max normalisation of a window that holds the drop would turn it
into a step function.

A split is told from a crash by two observations about a session *s* and the sessions before it:

    |log( (close_{s−1} / open_s) / ratio )| ≤ 0.07     for a customary ratio (3:2, 2:1, … 50:1, or the inverse)
    turnover_s ≤ 3 · median(turnover_{s−20 … s−1})     turnover = Σ close · volume, in currency

The second matters: on 29 September 2000 AAPL opened at 1/1.90 of its close after a profit warning, and Nvidia lost
31 % on 6 August 2004; ten and six times the usual money changed hands. On the days of fifteen real splits of seven
large companies (1999–2023) it was 0.3 to 2.2 times. Ratios below 3:2 (4:3, 5:4) are left out on purpose: bad quarterly
results look exactly like them (META, 27 October 2022: 1.325).
"""

import math
from dataclasses import dataclass

import numpy as np

from framecast.data.formats.prices import Prices, Series

RATIOS = ((3, 2), (5, 2), *((n, 1) for n in (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50)))  # new : old shares
TOLERANCE = 0.07
USUAL_TURNOVER = 3
SESSIONS_BEFORE = 20


@dataclass(frozen=True)
class ShareSplit:
    """``new`` shares for ``old`` ones, effective with the session of ``date``."""

    ticker: str
    date: np.datetime64
    new: int
    old: int

    @property
    def ratio(self) -> float:
        """The factor by which older prices are too high."""
        return self.new / self.old

    def __str__(self) -> str:
        return f"{self.ticker} {self.date} {self.new}:{self.old}"


def find_splits(prices: Prices) -> list[ShareSplit]:
    """The splits in a series as traded, in order of date; empty for a series that is already adjusted."""
    days = prices.timestamps.astype("datetime64[D]")
    first = np.flatnonzero(np.diff(days, prepend=days[0] - 1))  # the row that opens each session
    turnover = np.add.reduceat(prices.close * prices.volume, first)
    overnight = prices.close[first[1:] - 1] / prices.open[first[1:]]  # (sessions − 1,)
    found = []
    for session, factor in enumerate(overnight, start=1):
        if (ratio := _customary(float(factor))) is None:
            continue
        usual = np.median(turnover[max(0, session - SESSIONS_BEFORE) : session])
        if turnover[session] <= USUAL_TURNOVER * usual:
            found.append(ShareSplit(prices.ticker, days[first[session]], *ratio))
    return found


def _customary(factor: float) -> tuple[int, int] | None:
    """The customary ratio within the tolerance of close / next open, or None; (1, n) when shares were merged."""
    distance = [abs(math.log(max(factor, 1 / factor) * old / new)) for new, old in RATIOS]
    nearest = min(range(len(RATIOS)), key=distance.__getitem__)
    if distance[nearest] > TOLERANCE:
        return None
    new, old = RATIOS[nearest]
    return (new, old) if factor > 1 else (old, new)


def adjusted(prices: Prices, splits: list[ShareSplit]) -> Series:
    """Closes in today's shares: every price before a split divided by its ratio."""
    close = prices.close.copy()
    for split in splits:
        close[prices.timestamps < split.date] /= split.ratio
    return Series(prices.ticker, prices.timestamps, close)
