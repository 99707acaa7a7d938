"""Client of Alpha Vantage's price history (documentation: https://www.alphavantage.co/documentation/).

It asks for one file at a time with the user's own key, keeps to the rate of the free tier, and stores answers byte
for byte as they came beside a ``SHA256SUMS``, so that a download of several days can stop and go on at any file.

The key comes from ``ALPHA_VANTAGE_KEY`` and goes into the request, nowhere else: not into a file, a message or an
exception, not even where the service quotes it. A redirection is not followed: it could carry the key to another host
or off an encrypted line.
"""

import html
import http.client
import json
import math
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from framecast.artifacts import replacing, sha256
from framecast.data.formats.sha256sums import read_sums, verify, write_sums
from framecast.errors import NotFinished, UserError

AFFECTS_NUMBERS = False

ADDRESS = "https://www.alphavantage.co/query"
ATTEMPTS = 5
SECOND, MINUTE = 1.0, 60.0
LARGEST = 64 << 20  #: bytes of an answer; a month of minutes has about one million

#: How the service words a limit: so many requests per second, minute or day. Beside a shorter one it names a day's too.
RATE = re.compile(r"(?:\bper|\ba|\ban|\beach|\bevery|/)\s*(sec|second|min|minute|day)\b", re.IGNORECASE)
PAID = re.compile(r"\bis (?:a|only) premium\b", re.IGNORECASE)  #: of what no waiting opens
Unit = Literal["second", "minute", "day"]


@dataclass(frozen=True)
class PriceFile:
    """One answer of the service: all daily prices of a ticker, or the one-minute prices of a month (``2021-03``)."""

    ticker: str
    month: str | None = None

    @property
    def name(self) -> str:
        """File name, from which the readers take the ticker."""
        return f"intraday_1min_{self.ticker}_{self.month}.csv" if self.month else f"daily_{self.ticker}.csv"

    @property
    def command(self) -> str:
        """What fetches it and everything that belongs to it."""
        return f"`framecast fetch {'stocks' if self.month else 'stocks_daily'}`"

    @property
    def query(self) -> dict[str, str]:
        """Parameters of the request, without the key. Daily prices come as traded, intraday ones adjusted."""
        common = {"symbol": self.ticker, "outputsize": "full", "datatype": "csv"}
        if self.month is None:
            return {"function": "TIME_SERIES_DAILY", **common}
        return {"function": "TIME_SERIES_INTRADAY", "interval": "1min", "month": self.month, **common}


class AlphaVantage:
    """The service, at no more than ``per_second`` and ``per_minute`` requests in any second and minute, and ``per_day``
    in one run (0: no limit).

    ``clock`` and ``sleep`` are seconds; ``say`` gets one line for each thing worth telling.
    """

    def __init__(
        self,
        key: str,
        *,
        address: str = ADDRESS,
        per_second: int = 1,
        per_minute: int = 5,
        per_day: int = 25,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        say: Callable[[str], None] = print,
    ) -> None:
        self._key = key
        self.address = address
        self.per_second, self.per_minute, self.per_day = per_second, per_minute, per_day
        self.clock, self.sleep, self.say = clock, sleep, say
        self.asked = 0
        self._answered: deque[float] = deque(maxlen=max(per_second, per_minute))

    @classmethod
    def from_environment(cls, say: Callable[[str], None] = print) -> "AlphaVantage":
        """A client with the user's key; ``FRAMECAST_ALPHA_VANTAGE_PER_SECOND``, ``…_PER_MINUTE`` and ``…_PER_DAY`` are
        for paid plans."""
        key = os.environ.get("ALPHA_VANTAGE_KEY", "").strip()
        if not key:
            raise UserError(
                "ALPHA_VANTAGE_KEY: expected your key of Alpha Vantage in this environment variable, found nothing; "
                "a free one is given at https://www.alphavantage.co/support/#api-key"
            )
        return cls(
            key,
            address=os.environ.get("FRAMECAST_ALPHA_VANTAGE_URL", ADDRESS),
            per_second=_count("FRAMECAST_ALPHA_VANTAGE_PER_SECOND", 1),
            per_minute=_count("FRAMECAST_ALPHA_VANTAGE_PER_MINUTE", 5),
            per_day=_count("FRAMECAST_ALPHA_VANTAGE_PER_DAY", 25),
            say=say,
        )

    def download(self, folder: Path, wanted: Sequence[PriceFile]) -> None:
        """Bring every wanted file into ``folder`` and its ``SHA256SUMS``; what is there and unchanged is not asked for.

        Raises UserError when a file here was changed, or the service does not answer with the prices asked for;
        NotFinished when the day's requests are used up. What was stored before stays, and the next call goes on.
        """
        index = folder / "SHA256SUMS"
        sums = read_sums(index) if index.is_file() else {}
        for number, file in enumerate(wanted, start=1):
            path = folder / file.name
            if path.exists():
                sums[file.name] = self._already_here(path, file, sums.get(file.name))
                self.say(f"[{number}/{len(wanted)}] {file.name}: already here, unchanged")
            else:
                content = self.prices(file)
                with replacing(path) as partial:
                    partial.write_bytes(content)
                sums[file.name] = sha256(content)
                self.say(f"[{number}/{len(wanted)}] {file.name}: {len(content)} bytes")
            write_sums(index, sums)

    def prices(self, file: PriceFile) -> bytes:
        """The service's answer, untouched, after a check that it holds the prices asked for."""
        content = self._ask(file)
        self._check(content, f"Alpha Vantage's answer for {file.name}", file)
        return content

    def _already_here(self, path: Path, file: PriceFile, expected: str | None) -> str:
        """The sha256 of a file on disk. One that is not listed was stored just before a run was killed; it is read."""
        if expected is not None:
            verify(path, expected, remedy=f"run {file.command}")
            return expected
        content = path.read_bytes()
        self._check(content, str(path), file)
        return sha256(content)

    def _check(self, content: bytes, name: str, file: PriceFile) -> None:
        """Raise UserError unless these are the prices asked for."""
        from framecast.data.formats.prices import parse_prices

        prices = parse_prices(self._without_key(content.decode("utf-8", errors="replace")).encode(), name, file.ticker)
        wanted = ("1min", file.month) if file.month else ("daily", None)
        months = set(prices.timestamps.astype("datetime64[M]").astype(str))
        if prices.interval != wanted[0] or (file.month and file.month not in months):
            found = f"{prices.interval} prices of {min(months)} to {max(months)}"
            raise UserError(f"{name}: expected {' prices of '.join(filter(None, wanted))}, found {found}")

    def _ask(self, file: PriceFile) -> bytes:
        """An answer; after a passing fault it is asked for again, 1, 2, 4, 8 s later, or a minute if that is the limit.

        Raises NotFinished where the service holds back for a day, or still does after the last attempt.
        """
        trouble, limit = "", None
        for attempt in range(ATTEMPTS):
            self._wait_for_turn(file)
            status, body = self._respond(file)
            trouble, limit = _passing_fault(body) if status == 200 else ("", "minute" if status == 429 else None)
            if status == 200 and not trouble:
                return body
            if 300 <= status < 500 and status != 429:
                raise UserError(f"Alpha Vantage: {file.name}: status {status}; check your key and the address")
            trouble = self._without_key(trouble or body.decode(errors="replace"))
            if limit == "day":
                raise self._used_up(f"the requests of a day are used, it says ({trouble})", file, "tomorrow")
            if attempt < ATTEMPTS - 1:
                pause = MINUTE if limit == "minute" else 2.0**attempt
                self.say(f"{file.name}: {trouble}; trying again in {pause:.0f} s")
                self.sleep(pause)
        told = f"{ATTEMPTS} attempts failed, the last with {trouble}"
        if limit is not None:
            raise self._used_up(told, file, "later")
        raise UserError(f"Alpha Vantage: {file.name}: {told}; try later")

    def _respond(self, file: PriceFile) -> tuple[int, bytes]:
        """Status and body of one request; where there is no answer, 503 or the error's status and what happened."""
        try:
            return self._got(file)
        finally:
            self._answered.append(self.clock())

    def _got(self, file: PriceFile) -> tuple[int, bytes]:
        url = f"{self.address}?{urllib.parse.urlencode({**file.query, 'apikey': self._key})}"
        try:
            with urllib.request.build_opener(_StayHere).open(url, timeout=60) as response:
                body = response.read(LARGEST + 1)
                return (response.status, body) if len(body) <= LARGEST else (503, b"an answer without end")
        except urllib.error.HTTPError as error:
            return error.code, f"status {error.code}".encode()
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 503, " ".join(f"{type(error).__name__}: {error}".split()).encode()

    def _wait_for_turn(self, file: PriceFile) -> None:
        if self.per_day and self.asked >= self.per_day:
            raise self._used_up(f"the {self.per_day} requests of a day are used", file, "tomorrow")
        for allowed, seconds, unit in ((self.per_second, SECOND, "second"), (self.per_minute, MINUTE, "minute")):
            if not allowed or len(self._answered) < allowed:
                continue
            wait = self._answered[-allowed] + seconds - self.clock()
            if wait > 0:
                if unit == "minute":
                    self.say(f"waiting {math.ceil(wait)} s: {allowed} requests a minute are allowed")
                self.sleep(wait)
        self.asked += 1

    def _used_up(self, what: str, file: PriceFile, when: str) -> NotFinished:
        return NotFinished(f"Alpha Vantage: {what}; what came is kept: run {file.command} again {when}")

    def _without_key(self, text: str) -> str:
        """The text without the key, however an address, a page or an answer may write it."""
        quoted = (urllib.parse.quote_plus(self._key), urllib.parse.quote(self._key), urllib.parse.quote(self._key, ""))
        for form in (self._key, *quoted, html.escape(self._key), json.dumps(self._key)[1:-1]):
            text = re.sub(re.escape(form), "***", text, flags=re.IGNORECASE)
        return text


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: its status is the answer."""

    def redirect_request(self, *_: object) -> None:
        """Ask nobody else."""


def _passing_fault(body: bytes) -> tuple[str, Unit | None]:
    """What is wrong with an answer that may be right the next time, and the limit that it names; empty when nothing is.

    The service words its limits as ``Note`` or as ``Information``, which tells of other things too. Whole answers end
    with a line end or a brace.
    """
    from framecast.data.formats.prices import error_payload

    message = error_payload(body.decode("utf-8", errors="replace"))
    if message is None:
        return ("" if body.endswith((b"\n", b"}")) else "an answer that was cut off"), None
    if (limit := _limit(message)) is not None:
        return message, limit
    return "", None


def _limit(message: str) -> Unit | None:
    """The limit that a message says was reached, the shortest of those that it names; None when it tells of others."""
    if message.startswith("Error Message") or PAID.search(message):
        return None
    named = {found[:3].lower() for found in RATE.findall(message)}
    units: tuple[Unit, ...] = ("second", "minute", "day")
    shortest = next((unit for unit in units if unit[:3] in named), None)
    return shortest or ("minute" if message.startswith("Note") else None)


def _count(variable: str, default: int) -> int:
    written = os.environ.get(variable, str(default))
    if not written.isdecimal():
        raise UserError(f"{variable}: expected a number of requests (0: no limit), found {written!r}")
    return int(written)
