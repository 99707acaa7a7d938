"""Readers of share prices as Alpha Vantage and Yahoo Finance write them; the format is told by the first line.

=============================  ===============================================  =====================
format                         header or keys                                   order, prices
=============================  ===============================================  =====================
Alpha Vantage CSV              ``timestamp,open,high,low,close,volume``         newest first, daily ones as traded
… extended intraday CSV        ``time,open,high,low,close,volume``              newest first
… JSON                         ``Meta Data``, ``Time Series (…)``: stamp →      newest first
                               ``{"1. open": "86.79", …, "5. volume": "3117"}``
Yahoo Finance CSV              ``Date,Open,High,Low,Close,Adj Close,Volume``    oldest first, split-adjusted
=============================  ===============================================  =====================

Stamps are kept as written: exchange time (US/Eastern), without a zone.
"""

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from framecast.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

STAMPS = ("timestamp", "time", "date")
NUMBERS = ("open", "close", "volume")
ERROR_KEYS = ("Error Message", "Information", "Note")
TICKER = re.compile(r"\^?[A-Z]{1,5}(?:\.[A-Z])?")
SYMBOL = re.compile(r"[\w.^=-]{1,20}", re.ASCII)  #: as services write one: TSLA, BRK-B, TSCO.LON


@dataclass(frozen=True)
class Series:
    """Closing prices of one ticker: ``timestamps`` (N,) datetime64[s], ascending and unique; ``close`` (N,) float64."""

    ticker: str
    timestamps: np.ndarray
    close: np.ndarray


@dataclass(frozen=True)
class Prices(Series):
    """A series with what tells a share split from a crash: ``open`` and ``volume`` (in shares), (N,) float64."""

    open: np.ndarray
    volume: np.ndarray

    @property
    def interval(self) -> str:
        """``daily`` when no stamp has a time of day, else the shortest step between two rows: ``1min``, ``15min``."""
        if (self.timestamps == self.timestamps.astype("datetime64[D]")).all():
            return "daily"
        seconds = np.diff(self.timestamps).astype(np.int64)
        return f"{seconds.min(initial=86400) // 60}min"


def read_prices(path: Path, ticker: str | None = None) -> Prices:
    """Read one file; the ticker is the argument, the JSON's ``2. Symbol`` or in the file name (``daily_TSLA.csv``).

    Raises UserError with the path and what was found: unknown header, missing column, a price that is not a positive
    number, a stamp met twice, no rows, or an error message of the service saved as if it were data.
    """
    return parse_prices(path.read_bytes(), str(path), ticker)


def parse_prices(content: bytes, name: str, ticker: str | None = None) -> Prices:
    """Prices from the bytes of a file or of an answer; ``name`` stands in messages. Raises as ``read_prices`` does."""
    text = content.decode("utf-8-sig", errors="replace")
    if not text.strip():
        raise UserError(f"{name}: expected prices as CSV or JSON, found an empty file")
    if (message := error_payload(text)) is not None:
        raise UserError(f"{name}: expected prices, found an error message of the service: {message}")
    symbol, table = _json_table(text, name) if text.lstrip().startswith("{") else (None, _csv_table(text, name))
    return _checked(table, name, ticker or symbol or _ticker_in(name))


def error_payload(text: str) -> str | None:
    """What the service complains of, or None when the text holds no such message.

    Alpha Vantage answers errors with status 200 and a JSON object of one key, ``Note``, ``Information`` or
    ``Error Message``. Some of these quote the caller's key, which is masked.
    """
    if not text.lstrip().startswith("{"):
        return None
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = next((key for key in ERROR_KEYS if key in entries), None)
    if found is None:
        return None
    return f"{found}: " + re.sub(r"(?i)(api ?key (?:as|is|=)?\s*)[A-Z0-9]{8,}", r"\1***", str(entries[found]))


def _json_table(text: str, name: str) -> tuple[str | None, "pd.DataFrame"]:
    """The symbol and the table of a JSON answer: columns ``stamp``, ``open`` … ``volume``, all text."""
    import pandas as pd

    try:
        entries: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: expected whole JSON, found text that ends or breaks at {error}") from None
    series = next((value for key, value in entries.items() if key.startswith("Time Series")), None)
    if not isinstance(series, dict):
        raise UserError(f"{name}: expected a key 'Time Series (…)', found {', '.join(sorted(entries)) or 'no keys'}")
    if not all(isinstance(row, dict) for row in series.values()):
        raise UserError(f"{name}: expected stamps with '1. open', '4. close' and more under each, found other values")
    table = pd.DataFrame.from_dict(series, orient="index", dtype=str)
    table.columns = [column.split(". ", 1)[-1] for column in table.columns]
    return _symbol(entries.get("Meta Data"), name), table.rename_axis("timestamp").reset_index()


def _symbol(facts: Any, name: str) -> str | None:
    symbol = facts.get("2. Symbol") if isinstance(facts, dict) else None
    if symbol is not None and (not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol)):
        raise UserError(f"{name}: expected a ticker as '2. Symbol', found {str(symbol)[:80]!r}")
    return symbol


def _csv_table(text: str, name: str) -> "pd.DataFrame":
    import pandas as pd

    header, *rows = text.splitlines()
    columns = header.split(",")
    if columns[0].lower() not in STAMPS:
        allowed = "timestamp,… or time,… (Alpha Vantage), Date,… (Yahoo Finance)"
        raise UserError(f"{name}: expected a header {allowed}, found {header[:80]!r}")
    for number, row in enumerate(rows, start=2):
        if row.count(",") != len(columns) - 1:  # pandas would take a longer row's first field for an index
            raise UserError(f"{name}, line {number}: expected {len(columns)} fields, found {row[:80]!r}")
    try:
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except ValueError as error:
        raise UserError(f"{name}: expected CSV, found text that breaks: {' '.join(str(error).split())}") from None
    return table.rename(columns=str.lower)


def _checked(table: "pd.DataFrame", name: str, ticker: str) -> Prices:
    """The table as numbers, oldest first."""
    stamp = next(column for column in STAMPS if column in table)
    if missing := [column for column in NUMBERS if column not in table]:
        raise UserError(f"{name}: expected columns {', '.join(NUMBERS)}, found no {', '.join(missing)}")
    if table.empty:
        raise UserError(f"{name}: expected rows of prices, found only the header")
    timestamps = _stamps(table[stamp], name)
    columns = {column: _numbers(table, column, stamp, name) for column in NUMBERS}
    order = np.argsort(timestamps, kind="stable")
    timestamps = timestamps[order]
    if (repeated := timestamps[1:][timestamps[1:] == timestamps[:-1]]).size:
        raise UserError(f"{name}: expected every {stamp} once, found {_written(repeated[0])} more than once")
    return Prices(ticker, timestamps, **{column: values[order] for column, values in columns.items()})


def _stamps(column: "pd.Series", name: str) -> np.ndarray:
    import pandas as pd

    stamps = pd.to_datetime(column, format="ISO8601", errors="coerce")
    if stamps.isna().any():
        found = column[stamps.isna()].iloc[0]
        raise UserError(f"{name}: expected {column.name} as YYYY-MM-DD or YYYY-MM-DD HH:MM:SS, found {found!r}")
    return stamps.to_numpy().astype("datetime64[s]")


def _numbers(table: "pd.DataFrame", column: str, stamp: str, name: str) -> np.ndarray:
    import pandas as pd

    values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    smallest = 0 if column == "volume" else np.nextafter(0, 1)
    if (bad := np.flatnonzero(~(np.isfinite(values) & (values >= smallest)))).size:
        at, found = table[stamp].iloc[bad[0]], table[column].iloc[bad[0]]
        wanted = "a number of shares" if column == "volume" else "a positive price"
        raise UserError(f"{name}: expected {wanted} as {column} of {at}, found {found!r}")
    return values


def _written(stamp: np.datetime64) -> str:
    return str(stamp).replace("T00:00:00", "").replace("T", " ")


def _ticker_in(name: str) -> str:
    """The part of a file name that looks like a ticker: ``intraday_1min_MSFT_2021-03.csv`` → ``MSFT``."""
    for part in Path(name).name.rsplit(".", 1)[0].split("_"):
        if TICKER.fullmatch(part):
            return part
    raise UserError(f"{name}: expected a ticker in the file name, as in daily_TSLA.csv, found none")
