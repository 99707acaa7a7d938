"""Stocks: windows of share prices, 25 points seen, 25 to forecast (Coleman 2022).

The thesis used one-minute closes of Alpha Vantage's extended intraday history, 24 months of each ticker, cut into
consecutive windows of 50.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby, product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from framecast.artifacts import sha256_of
from framecast.data.base import SPLITS, Dataset, Prepared, SplitName, StoredSplit
from framecast.data.formats.prices import Prices, Series, read_prices
from framecast.data.formats.sha256sums import read_sums, verify
from framecast.data.formats.share_splits import adjusted, find_splits
from framecast.errors import UserError
from framecast.ranges import NonEmptyDistinct, PositiveInt, UnitInterval

FRAMES = "series"
RAW_INDEX = "stocks/SHA256SUMS"
RAW_SOURCES = (
    ({"source": "official", "interval": "daily"}, ("stocks_daily",)),
    ({"source": "official"}, ("stocks",)),
)
FITS = (
    "0 < validation_fraction < 1",
    "0 < test_fraction if split_by == 'dates'",
    "validation_fraction + test_fraction < 1 if split_by == 'dates'",
)

SAME_COMPANY = {"FB": "META", "GOOG": "GOOGL"}  # Meta's symbol until June 2022; Alphabet's two share classes
RENAMED = {"FB": "META"}
SAME_PRICE = 0.01  # two downloads of FB differ by 0.2 % on one day; adjusted and as-traded prices by a third or more
RELATED = 0.95  # correlation of daily returns: two share classes 0.995, any two of ten technology companies ≤ 0.82
DAY = np.timedelta64(1, "D")
FETCH = "run `framecast fetch {}` (it needs your own key of Alpha Vantage in ALPHA_VANTAGE_KEY)"
LIST = "a file of your own is listed by `sha256sum *.csv > SHA256SUMS` in its folder"

Period = tuple[np.datetime64, np.datetime64]  # first day, day after the last


class Windows(NamedTuple):
    """Windows of one ticker: their prices, and when each begins."""

    prices: Float[np.ndarray, "n t"]
    starts: np.ndarray  #: (n,) datetime64


class Stocks(Dataset):
    """x̂_t = (x_t − min x) / (max x − min x) over each whole window x of context + horizon closes, so in [0, 1].

    As in the thesis the extremes are those of all 50 points, so the future sets the scale: a forecaster knows that the
    window ends up in [0, 1]. A window whose price never moves has no such scale; it is dropped and counted.

    **Windows** are consecutive rows. They do not overlap, except that ``train_stride`` rows (default: a whole window)
    lie between the starts of two training windows: overlapping windows of the training period are more data, while
    overlapping test windows would make the spread between them look too small. A window may span the night between
    two sessions, as in the thesis, where one in twelve does; none spans a gap above a week (a month that was never
    downloaded), or above three times the usual step where rows are a month apart.

    **Splits** never share a date or a ticker:

    * ``split_by="dates"`` (default): the calendar span of all tickers together is cut twice, at the same two dates for
      every ticker, and a window lies inside one period. Shares move together, so a model that was trained on one
      ticker's crash of March 2020 has seen the others'; only different dates keep this out of the test.
    * ``split_by="tickers"``: the thesis' protocol. Everything of ``test_tickers`` is the test split; the other tickers
      train up to a date and validate after it. One company under two symbols (FB and META, GOOG and GOOGL, or any two
      series with correlated daily returns) on both sides is refused.

    **Share splits**: prices as traded are divided by the splits found in them (``data/formats/share_splits.py``), or
    refused when there is one (``split_adjustment="refuse"``).

    **Sources**: ``official`` reads every file listed in ``data/raw/stocks/SHA256SUMS`` (Alpha Vantage, Yahoo and more:
    ``data/formats/prices.py``; checked by sha256) whose rows are one minute or one day apart, as ``interval`` says.
    ``bundled`` is matplotlib's sample data: monthly closes of ten shares and indices 1990–2022; ``interval`` is
    ignored.

    Stored: ``train``, ``validation``, ``test``, each (N, context + horizon, 1) float32, and ``<split>_group``, (N,)
    int64, the day on which a window begins: shares move together, so those of one day say less than as many strangers.
    """

    frame_shape = (1,)

    def __init__(
        self,
        *,
        context: PositiveInt = 25,
        horizon: PositiveInt = 25,
        source: Literal["official", "bundled"] = "official",
        interval: Literal["1min", "daily"] = "1min",
        split_by: Literal["dates", "tickers"] = "dates",
        validation_fraction: UnitInterval = 0.15,
        test_fraction: UnitInterval = 0.4,
        test_tickers: NonEmptyDistinct[str] = ("TSLA",),
        train_stride: PositiveInt | None = None,
        split_adjustment: Literal["adjust", "refuse"] = "adjust",
    ) -> None:
        self.context, self.horizon = context, horizon
        self.source = source
        self.interval = interval
        self.split_by = split_by
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction if split_by == "dates" else 0.0
        self.test_tickers = tuple(RENAMED.get(ticker, ticker) for ticker in test_tickers)
        self.train_stride = train_stride
        self.split_adjustment = split_adjustment

    def prepare(self, raw: Path) -> Prepared:
        """Windows of the three splits.

        Raises UserError: a raw file is missing, altered or not prices; one ticker's files contradict each other; a
        share split with ``split_adjustment="refuse"``; one company in training and test; a split without a window.
        """
        series, facts = _bundled() if self.source == "bundled" else self._official(raw)
        held_out = self.test_tickers if self.split_by == "tickers" else ()
        _refuse_shared_companies(series, held_out)
        periods = self._periods([one for one in series if one.ticker not in held_out])
        cut = {name: self._windows(name, series, periods.get(name), held_out) for name in SPLITS}
        arrays: dict[str, np.ndarray] = {}
        for name, windows in cut.items():
            arrays[name], arrays[f"{name}_group"] = _together(windows.values())
        facts |= {
            "split_by": self.split_by,
            "periods": {name: [str(start), str(end - DAY)] for name, (start, end) in periods.items()},
            "tickers": {name: sorted(windows) for name, windows in cut.items()},
            "sequences": {name: len(arrays[name]) for name in SPLITS},
            "constant_windows_dropped": {
                name: sum(len(one.prices) for one in windows.values()) - len(arrays[name])
                for name, windows in cut.items()
            },
        }
        return Prepared(arrays, facts)

    def split(self, name: SplitName, arrays: Mapping[str, Tensor], *, seed: int, device: torch.device) -> StoredSplit:
        """All three splits are fixed: the seed only orders the training windows, and that is the trainer's."""
        return StoredSplit(arrays[name], device)

    def _official(self, raw: Path) -> tuple[list[Series], dict[str, Any]]:
        """The user's own download, joined per ticker and freed of share splits."""
        index = raw / RAW_INDEX
        remedy = f"{FETCH.format('stocks_daily' if self.interval == 'daily' else 'stocks')}; {LIST}"
        if not index.is_file():
            raise UserError(f"{index}: expected the list of downloaded price files, found none; {remedy}")
        listed = _read_all(index, remedy)
        prices = [one for one in listed if one.interval == self.interval]
        if not prices:
            found = ", ".join(sorted({one.interval for one in listed})) or "no files"
            raise UserError(f"{index}: expected {self.interval} prices (interval), found {found}; {remedy}")
        joined = [_joined(ticker, list(files)) for ticker, files in groupby(prices, key=lambda one: one.ticker)]
        splits = {one.ticker: find_splits(one) for one in joined}
        undone = [str(split) for ticker in splits for split in splits[ticker]]
        if undone and self.split_adjustment == "refuse":
            raise UserError(
                f"{index.parent}: prices as traded hold share splits ({', '.join(undone)}) and split_adjustment is "
                "refuse; set split_adjustment: adjust, or replace the files by adjusted ones"
            )
        origin = f"{self.interval} closes of {', '.join(splits)}, downloaded by the user (Alpha Vantage, Yahoo Finance)"
        facts = {"source": "official", "origin": origin, "share_splits_adjusted": undone}
        return [adjusted(one, splits[one.ticker]) for one in joined], facts

    def _periods(self, series: list[Series]) -> dict[SplitName, Period]:
        """The days of each split, the same for every ticker; split by tickers, the test has all days and no entry."""
        if not series:
            raise UserError(f"stocks: test_tickers {', '.join(self.test_tickers)} leave no ticker to train on")
        days = [one.timestamps[[0, -1]].astype("datetime64[D]") for one in series]
        start, end = min(day[0] for day in days), max(day[1] for day in days) + DAY
        span = int((end - start) / DAY)
        test = end - round(span * self.test_fraction) * DAY
        validation = end - round(span * (self.test_fraction + self.validation_fraction)) * DAY
        periods: dict[SplitName, Period] = {
            "train": (start, validation),
            "validation": (validation, test),
            "test": (test, end),
        }
        return periods if self.split_by == "dates" else {name: periods[name] for name in ("train", "validation")}

    def _windows(
        self, name: SplitName, series: list[Series], period: Period | None, held_out: tuple[str, ...]
    ) -> dict[str, Windows]:
        """Windows of a split, for each ticker that has any; period None is all dates."""
        length = self.context + self.horizon
        stride = (self.train_stride or length) if name == "train" else length
        chosen = [one for one in series if not held_out or (one.ticker in held_out) == (name == "test")]
        cut = {one.ticker: _cut(one, period, length, stride) for one in chosen}
        if found := {ticker: windows for ticker, windows in cut.items() if len(windows.prices)}:
            return found
        where = "all dates" if period is None else f"{period[0]} to {period[1] - DAY}"
        raise UserError(
            f"stocks: expected {name} windows of {length} consecutive prices in {where}, found none in "
            f"{', '.join(sorted(cut))}; change validation_fraction or test_fraction, or add prices"
        )


def _cut(series: Series, period: Period | None, length: int, stride: int) -> Windows:
    """Windows of consecutive closes inside a period that span no gap longer than a market is ever closed."""
    inside = slice(None) if period is None else slice(*np.searchsorted(series.timestamps, np.array(period)))
    stamps, close = series.timestamps[inside], series.close[inside]
    steps = np.diff(stamps)
    gap = max(7 * DAY, 3 * np.median(steps)) if len(steps) else 7 * DAY
    runs = np.split(np.arange(len(close)), 1 + np.flatnonzero(steps > gap))
    views = [np.lib.stride_tricks.sliding_window_view(run, length)[::stride] for run in runs if len(run) >= length]
    rows = np.concatenate([np.empty((0, length), dtype=np.int64), *views])
    return Windows(close[rows], stamps[rows[:, 0]])


def _together(windows: Iterable[Windows]) -> tuple[Float[np.ndarray, "m t 1"], Int64[np.ndarray, " m"]]:
    """(x − min) / (max − min) of each window, without those that never move, and which of them begin on one day."""
    prices, starts = (np.concatenate(parts) for parts in zip(*windows, strict=True))
    moves = np.ptp(prices, axis=1) > 0
    moving = prices[moves]
    low, high = moving.min(axis=1, keepdims=True), moving.max(axis=1, keepdims=True)
    _, groups = np.unique(starts[moves].astype("datetime64[D]"), return_inverse=True)
    return ((moving - low) / (high - low)).astype(np.float32)[..., None], groups.astype(np.int64)


# --- which series -----------------------------------------------------------------------------------


def _read_all(index: Path, remedy: str) -> list[Prices]:
    """Every listed file, checked against its sha256; sorted by ticker (today's symbol) and first stamp."""
    sums = read_sums(index)
    for name, expected in sums.items():
        verify(index.parent / name, expected, remedy=remedy)
    read = [read_prices(index.parent / name) for name in sums]
    today = [replace(one, ticker=RENAMED.get(one.ticker, one.ticker)) for one in read]
    return sorted(today, key=lambda one: (one.ticker, one.timestamps[0]))


def _joined(ticker: str, files: list[Prices]) -> Prices:
    """One series from a ticker's files; a stamp that two files hold counts once and must have about one price."""
    stamps = np.concatenate([one.timestamps for one in files])
    order = np.argsort(stamps, kind="stable")
    stamps = stamps[order]
    close, opening, volume = (
        np.concatenate([getattr(one, column) for one in files])[order] for column in ("close", "open", "volume")
    )
    again = np.flatnonzero(stamps[1:] == stamps[:-1]) + 1
    apart = again[np.abs(close[again] / close[again - 1] - 1) > SAME_PRICE]
    if apart.size:
        at = apart[0]
        raise UserError(
            f"stocks: files of {ticker} disagree at {stamps[at]}: closes {close[at - 1]:g} and {close[at]:g} "
            "(one of them adjusted for share splits?); keep one of them in data/raw/stocks and its SHA256SUMS"
        )
    once = np.delete(np.arange(len(stamps)), again)
    return Prices(ticker, stamps[once], close[once], opening[once], volume[once])


def _refuse_shared_companies(series: list[Series], held_out: tuple[str, ...]) -> None:
    """Refuse a test ticker that is unknown, or that is the company of a training ticker under another symbol."""
    known = sorted({one.ticker for one in series})
    if unknown := sorted(set(held_out) - set(known)):
        raise UserError(f"stocks: test_tickers: found {', '.join(unknown)}; allowed: {', '.join(known)}")
    tested = [one for one in series if one.ticker in held_out]
    trained = [one for one in series if one.ticker not in held_out]
    for test, train in product(tested, trained):
        same = SAME_COMPANY.get(test.ticker, test.ticker) == SAME_COMPANY.get(train.ticker, train.ticker)
        if same or _correlation(test, train) > RELATED:
            raise UserError(
                f"stocks: test_tickers: {test.ticker} and {train.ticker} are one company's prices, so both must be in "
                f"test_tickers or neither; found {', '.join(held_out)}"
            )


def _correlation(a: Series, b: Series) -> float:
    """Pearson correlation of log returns between the last closes of common days; 0 with fewer than 20 such days."""
    (days_a, close_a), (days_b, close_b) = _last_of_day(a), _last_of_day(b)
    _, in_a, in_b = np.intersect1d(days_a, days_b, assume_unique=True, return_indices=True)
    if len(in_a) < 20:
        return 0.0
    returns = np.diff(np.log(close_a[in_a])), np.diff(np.log(close_b[in_b]))
    spread = returns[0].std() * returns[1].std()
    return float(np.cov(*returns, bias=True)[0, 1] / spread) if spread > 0 else 0.0


def _last_of_day(series: Series) -> tuple[np.ndarray, np.ndarray]:
    days = series.timestamps.astype("datetime64[D]")
    last = np.flatnonzero(np.diff(days, append=days[-1] + DAY))
    return days[last], series.close[last]


# --- bundled ----------------------------------------------------------------------------------------


def _bundled() -> tuple[list[Series], dict[str, Any]]:
    """matplotlib's monthly sample prices, adjusted for splits already.

    Its daily ones, of a single share over four years, would be another rate of sampling in some splits and not in
    others.
    """
    from matplotlib import cbook

    path = Path(cbook.get_sample_data("Stocks.csv", asfileobj=False))
    origin = (
        "matplotlib's sample data: monthly adjusted closes of ten shares and indices 1990-01 to 2022-06 from Yahoo "
        "Finance (Stocks.csv)"
    )
    facts = {
        "source": "bundled",
        "origin": origin,
        "share_splits_adjusted": [],
        "raw_sha256": {path.name: sha256_of(path)},
    }
    return sorted(_monthly(path), key=lambda one: one.ticker), facts


def _monthly(path: Path) -> list[Series]:
    """One series per column. Only rows of the first of a month are kept: the others are empty (dividend days), except
    a last one that repeats its month."""
    import pandas as pd

    table = pd.read_csv(path, comment="#", index_col="Date")
    table = table[table.index.str.endswith("-01")]
    columns = {str(ticker): table[ticker].dropna() for ticker in table}
    return [
        Series(ticker, closes.index.to_numpy(dtype="datetime64[s]"), closes.to_numpy(dtype=np.float64))
        for ticker, closes in columns.items()
    ]
