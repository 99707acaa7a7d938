"""Readers of share prices as the common sources write them; the format is told by the first lines.

=============================  ===============================================  =======================================
format                         header or keys                                   order, prices
=============================  ===============================================  =======================================
Alpha Vantage CSV              ``timestamp,open,high,low,close,volume``         newest first, daily ones as traded
… extended intraday CSV        ``time,open,high,low,close,volume``              newest first
… JSON                         ``Meta Data``, ``Time Series (…)``: stamp →      newest first
                               ``{"1. open": "86.79", …, "5. volume": "3117"}``
Yahoo Finance CSV, Stooq CSV   ``Date,Open,High,Low,Close,…,Volume``            oldest first, split-adjusted
yfinance ``history``           ``Date`` or ``Datetime`` with an offset, as      oldest first, adjusted
                               ``2021-03-02 00:00:00-05:00``
yfinance ``download``          ``Price,Close,…``, ``Ticker,AAPL,…``, ``Date,,`` oldest first, adjusted
Nasdaq CSV                     ``Date,Close/Last,Volume,Open,High,Low``,        newest first, split-adjusted
                               ``03/02/2021,$125.12,…``
=============================  ===============================================  =======================================

Stamps are in the exchange's time, without a zone. An offset that a file writes is left off, not applied: what stands
before it is the exchange's time, whose offset summer time changes within a file. In UTC it would not be, so such stamps
are refused unless they are whole days; and so is everything else that could be read in two ways.
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

STAMPS = ("timestamp", "time", "date", "datetime")
NUMBERS = ("open", "close", "volume")
ERROR_KEYS = ("Error Message", "Information", "Note")
STAMP = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?)(?:\.0+)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
NASDAQ_DATE = re.compile(r"(\d\d)/(\d\d)/(\d{4})", re.ASCII)  #: month first
#: A share, a class of it or what an exchange adds: TSLA, ^GSPC, BRK-B, BF.B, SAP.DE, TSCO.LON; 7203.T, NOVO-B.CO.
TICKER = re.compile(r"\^?[A-Z]{1,5}(?:[.-][A-Z]{1,4})?|[A-Z0-9]{1,10}(?:-[A-Z])?\.[A-Z]{1,3}")
EXCHANGES = {
    "AMEX",
    "ARCA",
    "ASX",
    "BATS",
    "BSE",
    "CBOE",
    "EPA",
    "ETR",
    "FRA",
    "HKEX",
    "LON",
    "LSE",
    "NSE",
    "NYSE",
    "OTC",
}
EXCHANGES |= {"SIX", "TSE", "TSX", "XETR", "XETRA"}
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
    """Read one file; the ticker is the argument, what the file says, or in its name (``daily_TSLA.csv``).

    Raises UserError with the path and what was found: unknown header, missing column, several tickers, a price that is
    not a positive number, a stamp that is not in exchange time or met twice, no rows, a name with no ticker or with
    several, or an error message of the service saved as if it were data.
    """
    return parse_prices(path.read_bytes(), str(path), ticker)


def parse_prices(content: bytes, name: str, ticker: str | None = None) -> Prices:
    """Prices from the bytes of a file or of an answer; ``name`` stands in messages. Raises as ``read_prices`` does."""
    text = content.decode("utf-8-sig", errors="replace")
    if not text.strip():
        raise UserError(f"{name}: expected prices as CSV or JSON, found an empty file")
    if (message := error_payload(text)) is not None:
        raise UserError(f"{name}: expected prices, found an error message of the service: {message}")
    symbol, table = (_json_table if text.lstrip().startswith("{") else _csv_table)(text, name)
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
    facts = entries.get("Meta Data")
    symbol = facts.get("2. Symbol") if isinstance(facts, dict) else None
    return symbol and _symbol(symbol, name, "'2. Symbol'"), table.rename_axis("timestamp").reset_index()


def _symbol(symbol: Any, name: str, where: str) -> str:
    if not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol):
        raise UserError(f"{name}: expected a ticker as {where}, found {str(symbol)[:80]!r}")
    return symbol


def _csv_table(text: str, name: str) -> tuple[str | None, "pd.DataFrame"]:
    """The symbol, where the file names one, and the table of a CSV file: column names in lower case, all text."""
    import pandas as pd

    header, *rows = text.splitlines()
    symbol, before = None, 1
    if header.split(",")[0] in ("Price", "Ticker"):
        symbol, header, rows, before = *_two_headers(header, rows, name), 3
    columns = header.lower().split(",")
    if columns[0] not in STAMPS:
        allowed = "timestamp,… or time,… (Alpha Vantage), Date,… (Yahoo Finance, yfinance, Stooq, Nasdaq)"
        raise UserError(f"{name}: expected a header {allowed}, found {header[:80]!r}")
    if doubled := sorted({column for column in columns if columns.count(column) > 1}):
        raise UserError(f"{name}: expected every column once, found {', '.join(doubled)[:80]} more than once")
    for number, row in enumerate(rows, start=before + 1):
        if row.count(",") != len(columns) - 1:  # pandas would take a longer row's first field for an index
            raise UserError(f"{name}, line {number}: expected {len(columns)} fields, found {row[:80]!r}")
    try:
        table = pd.read_csv(io.StringIO("\n".join([",".join(columns), *rows])), dtype=str, keep_default_na=False)
    except ValueError as error:
        raise UserError(f"{name}: expected CSV, found text that breaks: {' '.join(str(error).split())}") from None
    return symbol, _like_others(table) if "close/last" in table else table


def _two_headers(first: str, rows: list[str], name: str) -> tuple[str, str, list[str]]:
    """Ticker, one header and the rows of a table whose columns have two names each, in either order.

    That is what yfinance downloads look like in CSV, of one ticker as of several; a third line names the stamps.
    """
    names = {line.split(",")[0]: line.split(",")[1:] for line in (first, *rows[:1])}
    index = rows[1].split(",") if len(rows) > 1 else [""]
    if set(names) != {"Price", "Ticker"} or index[0].lower() not in STAMPS or any(index[1:]):
        told = " / ".join([first, *rows[:2]])
        raise UserError(f"{name}: expected lines Price,…, Ticker,… and Date,… (yfinance), found {told[:80]!r}")
    if len(tickers := sorted(set(names["Ticker"]))) != 1:
        raise UserError(
            f"{name}: expected prices of one ticker, found {', '.join(tickers)[:80]}; write a file for each"
        )
    return _symbol(tickers[0], name, "Ticker"), ",".join([index[0], *names["Price"]]), rows[2:]


def _like_others(table: "pd.DataFrame") -> "pd.DataFrame":
    """Nasdaq's table, known by its ``Close/Last``, in the words of the others: ``03/02/2021`` is 2 March there."""
    table = table.rename(columns={"close/last": "close"})
    table["date"] = table["date"].str.replace(NASDAQ_DATE, r"\3-\1-\2", regex=True)
    for column in {"open", "close"} & set(table):
        table[column] = table[column].str.removeprefix("$")
    return table


def _checked(table: "pd.DataFrame", name: str, ticker: str) -> Prices:
    """The table as numbers, oldest first."""
    stamp = table.columns[0]
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
    """Exchange time as written; an offset changes nothing, and tells UTC from it."""
    import pandas as pd

    parts = column.str.extract(f"^{STAMP.pattern}$")
    day, clock, offset = (parts[part].fillna("") for part in parts)
    stamps = pd.to_datetime((day + " " + clock).str.rstrip(), format="ISO8601", errors="coerce")
    if stamps.isna().any():
        found = column[stamps.isna()].iloc[0]
        raise UserError(f"{name}: expected {column.name} as YYYY-MM-DD or YYYY-MM-DD HH:MM:SS, found {found!r}")
    if (offset != "").any():
        _refuse_other_zones(column, clock, offset, name)
    return stamps.to_numpy().astype("datetime64[s]")


def _refuse_other_zones(column: "pd.Series", clock: "pd.Series", offset: "pd.Series", name: str) -> None:
    """Raise UserError unless stamps with an offset can be in exchange time."""
    if (offset == "").any():
        found = column[offset == ""].iloc[0]
        raise UserError(f"{name}: expected an offset at every {column.name} or at none, found {found!r} without one")
    is_utc, is_midnight = offset.str.fullmatch(r"Z|[+-]00:?00"), clock.str.fullmatch(r"00:00(?::00)?")
    if is_utc.all() and not is_midnight.all():
        found = column[~is_midnight].iloc[0]
        raise UserError(
            f"{name}: expected {column.name} in the exchange's time, found UTC ({found}); "
            "convert them first, with pandas by tz_convert('America/New_York') for an American share"
        )


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
    """The part of a file name that looks like a ticker: ``intraday_1min_MSFT_2021-03.csv`` → ``MSFT``.

    The exchange before it, as in ``NYSE_IBM.csv`` and ``NASDAQ:AAPL.csv``, is none.
    """
    parts = re.split(r"[_:,\s]+", Path(name).name.rsplit(".", 1)[0])
    found = list(dict.fromkeys(part for part in parts if TICKER.fullmatch(part)))
    tickers = [part for part in found if part not in EXCHANGES or part == found[-1]]
    if len(tickers) == 1:
        return tickers[0]
    told = " and ".join(tickers) or "none"
    raise UserError(f"{name}: expected a ticker in the file name, as in daily_TSLA.csv, found {told}; rename the file")
