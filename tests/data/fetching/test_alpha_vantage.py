"""The Alpha Vantage client against a local server: rate, errors, resume, and a key that shows up nowhere."""

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest

from framecast.data.fetching import alpha_vantage
from framecast.data.fetching.alpha_vantage import AlphaVantage, PriceFile
from framecast.data.fetching.fetch import fetch
from framecast.data.formats.prices import read_prices
from framecast.data.formats.sha256sums import read_sums
from framecast.errors import NotFinished, UserError
from tests.conftest import BIN, STUCK_SECONDS, serving

REAL = Path(__file__).parents[3] / ".." / "shared" / "data" / "stocks" / "alphavantage"
KEY = "S3CR3T+K3Y/0042"
HEADER = b"timestamp,open,high,low,close,volume\r\n"
DAILY = HEADER + b"2021-03-03,12,13,11,12.5,100\r\n2021-03-02,11,12,10,11.5,90\r\n"
MINUTES = HEADER + b"2021-03-02 09:31:00,12,13,11,12.5,100\r\n2021-03-02 09:30:00,11,12,10,11.5,90\r\n"

Answer = tuple[int, bytes]
Query = dict[str, str]


class Server(ThreadingHTTPServer):
    """Answers with what ``answers`` gives for the n-th query, and remembers the queries."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.queries: list[Query] = []
        self.answers: Callable[[int, Query], Answer] = lambda _, query: (200, MINUTES if "month" in query else DAILY)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/query"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.server.queries.append(query)
        status, body = self.server.answers(len(self.server.queries), query)
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", body.decode())
        self.send_header("Content-Length", str(len(body) + (7 if body.endswith(b"cut") else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server, serving(server):
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def client(server: Server, clock: Clock, said: list[str]) -> Callable[..., AlphaVantage]:
    return partial(AlphaVantage, KEY, address=server.address, clock=clock, sleep=clock.sleep, say=said.append)


def test_the_queries_are_those_of_the_documentation(client, server: Server) -> None:
    client().prices(PriceFile("TSLA"))
    client().prices(PriceFile("TSLA", "2021-03"))
    common = {"symbol": "TSLA", "outputsize": "full", "datatype": "csv", "apikey": KEY}
    assert server.queries == [
        {"function": "TIME_SERIES_DAILY", **common},
        {"function": "TIME_SERIES_INTRADAY", "interval": "1min", "month": "2021-03", **common},
    ]


def test_answers_are_stored_as_they_came_and_never_asked_for_again(client, server: Server, tmp_path: Path) -> None:
    wanted = [PriceFile("AAA"), PriceFile("AAA", "2021-03"), PriceFile("BBB")]
    client().download(tmp_path, wanted[:2])
    assert (tmp_path / "daily_AAA.csv").read_bytes() == DAILY
    assert (tmp_path / "intraday_1min_AAA_2021-03.csv").read_bytes() == MINUTES
    client().download(tmp_path, wanted)
    assert [query["symbol"] for query in server.queries] == ["AAA", "AAA", "BBB"]
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.glob("*.csv")}
    assert read_sums(tmp_path / "SHA256SUMS") == sums
    assert sorted(path.name for path in tmp_path.iterdir()) == ["SHA256SUMS", *sorted(sums)]


def test_a_file_stored_but_not_yet_listed_is_taken_over_and_a_changed_one_refused(
    client, server: Server, tmp_path: Path
) -> None:
    client().download(tmp_path, [PriceFile("AAA")])
    (tmp_path / "SHA256SUMS").unlink()
    client().download(tmp_path, [PriceFile("AAA")])
    assert len(server.queries) == 1
    (tmp_path / "daily_AAA.csv").write_bytes(DAILY[:-20])
    with pytest.raises(UserError) as refused:
        client().download(tmp_path, [PriceFile("AAA")])
    for part in ("daily_AAA.csv", hashlib.sha256(DAILY).hexdigest(), hashlib.sha256(DAILY[:-20]).hexdigest()):
        assert part in str(refused.value)
    (tmp_path / "daily_AAA.csv").unlink()
    client().download(tmp_path, [PriceFile("AAA")])
    assert (tmp_path / "daily_AAA.csv").read_bytes() == DAILY


def test_no_minute_holds_more_requests_than_allowed(client, clock: Clock, said: list[str]) -> None:
    service = client(per_minute=5, per_day=0)
    times = []
    for _ in range(17):
        service.prices(PriceFile("AAA"))
        times.append(clock.now)
        clock.now += 1.5
    assert all(later - earlier >= 60 for earlier, later in zip(times, times[5:], strict=False))
    assert clock.slept == [52.5] * 3
    assert "waiting 53 s: 5 requests a minute" in said[0]


def test_the_days_allowance_ends_the_run_and_the_next_one_goes_on(client, server: Server, tmp_path: Path) -> None:
    wanted = [PriceFile(ticker) for ticker in ("AAA", "BBB", "CCC")]
    with pytest.raises(NotFinished, match=r"the 2 requests of a day are used.*again tomorrow"):
        client(per_day=2).download(tmp_path, wanted)
    assert sorted(read_sums(tmp_path / "SHA256SUMS")) == ["daily_AAA.csv", "daily_BBB.csv"]
    client(per_day=2).download(tmp_path, wanted)
    assert [query["symbol"] for query in server.queries] == ["AAA", "BBB", "CCC"]


def told(key: str, message: str) -> Answer:
    """An answer as the service gives it when it has something to say: status 200, and JSON of one key."""
    return 200, json.dumps({key: message}).encode()


def test_no_second_holds_more_requests_than_allowed(client, clock: Clock, said: list[str]) -> None:
    service = client(per_second=2, per_minute=0, per_day=0)
    times = []
    for _ in range(7):
        service.prices(PriceFile("AAA"))
        times.append(clock.now)
        clock.now += 0.25
    assert all(later - earlier >= 1 for earlier, later in zip(times, times[2:], strict=False))
    assert clock.slept == [0.5] * 3
    assert said == []


BOTH = "Slow down: the free plan answers one request per second, and 25 requests per day."
PASSING: dict[str, tuple[Answer, float]] = {
    "one a second": (told("Information", BOTH), 1),
    "a few a second": (told("Information", "At most 3 calls/sec, please."), 1),
    "a few a minute": (told("Information", "Your plan has 75 requests every minute; more can be had."), 60),
    "a note without a number": (told("Note", "That was too fast."), 60),
    "server error": ((503, b"busy"), 1),
    "too many requests": ((429, b""), 60),
    "rate note": ((200, b'{"Note": "Our standard API call frequency is 5 calls per minute."}'), 60),
    "cut off in transfer": ((200, DAILY[:60] + b"cut"), 1),
    "cut off before": ((200, DAILY[:-9]), 1),
    "empty": ((200, b""), 1),
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_waited_out(client, server: Server, clock: Clock, tmp_path: Path, fault: str) -> None:
    answer, pause = PASSING[fault]
    server.answers = lambda number, _: answer if number == 1 else (200, DAILY)
    client().download(tmp_path, [PriceFile("AAA")])
    assert clock.slept == [pause]
    assert (tmp_path / "daily_AAA.csv").read_bytes() == DAILY


def test_a_fault_that_stays_ends_after_bounded_backoff(client, server: Server, clock: Clock, tmp_path: Path) -> None:
    server.answers = lambda *_: (500, b"")
    with pytest.raises(UserError, match="5 attempts failed, the last with status 500"):
        client(per_minute=0).download(tmp_path, [PriceFile("AAA")])
    assert clock.slept == [1, 2, 4, 8]
    assert list(tmp_path.iterdir()) == []


DAYS = {
    "quoting the key": told("Information", f"With your key {KEY} go 25 requests per day."),
    "as a note": told("Note", "500 calls a day are the limit."),
    "with an offer": told("Information", "The daily limit is 25 requests/day; premium plans have none."),
}


@pytest.mark.parametrize("wording", DAYS)
def test_the_services_word_for_a_day_that_is_used_ends_the_run_and_the_next_one_goes_on(
    client, server: Server, clock: Clock, tmp_path: Path, wording: str
) -> None:
    wanted = [PriceFile(ticker) for ticker in ("AAA", "BBB", "CCC")]
    server.answers = lambda number, _: DAYS[wording] if number == 2 else (200, DAILY)
    with pytest.raises(
        NotFinished, match=r"what came is kept: run `framecast fetch stocks_daily` again tomorrow"
    ) as used:
        client().download(tmp_path, wanted)
    assert KEY not in str(used.value)
    assert "\n" not in str(used.value)
    assert clock.slept == [1]  # between the two requests, and none in vain
    assert list(read_sums(tmp_path / "SHA256SUMS")) == ["daily_AAA.csv"]
    client().download(tmp_path, wanted)
    assert list(read_sums(tmp_path / "SHA256SUMS")) == ["daily_AAA.csv", "daily_BBB.csv", "daily_CCC.csv"]


@pytest.mark.parametrize(
    ("limited", "pauses"),
    [((429, b""), [60] * 4), (told("Information", BOTH), [1, 2, 4, 8])],
)
def test_a_limit_that_stays_ends_the_run_as_unfinished(
    client, server: Server, clock: Clock, tmp_path: Path, limited: Answer, pauses: list[float]
) -> None:
    server.answers = lambda number, _: limited if number > 1 else (200, DAILY)
    with pytest.raises(NotFinished, match=r"5 attempts failed.*run `framecast fetch stocks` again later"):
        client(per_second=0, per_minute=0).download(tmp_path, [PriceFile("AAA"), PriceFile("AAA", "2021-03")])
    assert clock.slept == pauses
    assert list(read_sums(tmp_path / "SHA256SUMS")) == ["daily_AAA.csv"]


FINAL: dict[str, tuple[Answer, str]] = {
    "premium": (
        told("Information", "This is a premium endpoint. Others have 25 calls a day."),
        "premium endpoint",
    ),
    "invalid call": ((200, b'{"Error Message": "Invalid API call for TIME_SERIES_DAILY."}'), "Invalid API call"),
    "forbidden": ((403, b""), "status 403"),
    "a page": ((200, b"<html>maintenance</html>\n"), "found '<html>maintenance</html>'"),
    "no rows": ((200, HEADER), "only the header"),
    "other prices": ((200, MINUTES), "expected daily, found 1min prices of 2021-03"),
}


@pytest.mark.parametrize("fault", FINAL)
def test_an_error_is_told_in_one_line_and_nothing_is_stored(client, server: Server, tmp_path: Path, fault: str) -> None:
    answer, told = FINAL[fault]
    server.answers = lambda number, _: answer if number == 2 else (200, DAILY)
    with pytest.raises(UserError) as refused:
        client().download(tmp_path, [PriceFile("AAA"), PriceFile("BBB")])
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(server.queries) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["SHA256SUMS", "daily_AAA.csv"]


def test_a_month_that_was_not_asked_for_is_refused(client, tmp_path: Path) -> None:
    """The service answers an unknown parameter with its latest prices instead of an error."""
    with pytest.raises(UserError, match="expected 1min prices of 2020-11, found 1min prices of 2021-03"):
        client().download(tmp_path, [PriceFile("AAA", "2020-11")])


@pytest.mark.parametrize("fault", ["quoting the key", "forbidden", "server error", "refused", "bad address"])
def test_the_key_shows_up_nowhere(client, server: Server, tmp_path: Path, said: list[str], fault: str) -> None:
    answer = DAYS.get(fault) or {**PASSING, **FINAL}.get(fault, ((500, b""), ""))[0]
    server.answers = lambda number, _: (200, DAILY) if number == 1 else answer
    address = {"refused": "http://127.0.0.1:9/query", "bad address": "nowhere/query"}.get(fault, server.address)
    client().download(tmp_path, [PriceFile("AAA")])
    with pytest.raises((UserError, NotFinished)) as refused:
        client(address=address, per_minute=0).download(tmp_path, [PriceFile("BBB")])
    chain: list[BaseException] = [refused.value]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(inner)
    seen = [repr(error) + str(vars(error)) for error in chain] + said + [repr(client())]
    seen += [path.name + path.read_text() for path in tmp_path.rglob("*")]
    for secret in (KEY, "S3CR3T%2BK3Y%2F0042", "S3CR3T"):
        assert not [text for text in seen if secret in text]


def test_a_redirection_is_not_followed(client, server: Server, tmp_path: Path) -> None:
    """Wherever it leads, and with the key in its address: nobody else is asked, and nobody reads it."""
    with Server() as other, serving(other):
        for place in (f"{other.address}?apikey={KEY}", f"file:///etc/hostname?{KEY}", f"http://{KEY}@127.0.0.1:9/"):
            server.answers = lambda *_, place=place: (302, place.encode())
            with pytest.raises(
                UserError, match=r"daily_AAA\.csv: status 302; check your key and the address"
            ) as refused:
                client(per_minute=0).download(tmp_path, [PriceFile("AAA")])
            assert KEY not in str(refused.value)
        assert other.queries == []
    assert len(server.queries) == 3
    assert not list(tmp_path.iterdir())


def test_an_answer_without_end_is_not_read_to_its_end(client, server: Server, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(alpha_vantage, "LARGEST", len(DAILY) - 1)
    with pytest.raises(UserError, match="5 attempts failed, the last with an answer without end"):
        client(per_minute=0).download(tmp_path, [PriceFile("AAA")])
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(alpha_vantage, "LARGEST", len(DAILY))
    client().download(tmp_path, [PriceFile("AAA")])


@pytest.mark.parametrize(
    "form", [KEY, KEY.lower(), KEY.replace("/", "\\/"), "S3CR3T%2BK3Y%2F0042", "S3CR3T%2bK3Y%2f0042"]
)
def test_a_page_that_quotes_the_key_is_told_without_it(client, server: Server, said: list[str], form: str) -> None:
    for status in (200, 500):
        server.answers = lambda *_, status=status: (status, f"<p>your key {form} is not known</p>\n".encode())
        with pytest.raises(UserError) as refused:
            client(per_minute=0).prices(PriceFile("AAA"))
        for text in (str(refused.value), *said):
            assert form.lower() not in text.lower()


@pytest.mark.slow
def test_a_process_that_fetches_shows_the_key_to_nobody(server: Server, tmp_path: Path) -> None:
    """Neither in its arguments, which every user of the machine can read, nor in what it prints or writes."""
    asked, go_on = threading.Event(), threading.Event()

    def answer(number: int, _: Query) -> Answer:
        asked.set()
        go_on.wait(STUCK_SECONDS)
        return (200, DAILY) if number == 1 else (403, KEY.encode())

    server.answers = answer
    environment = {**os.environ, "ALPHA_VANTAGE_KEY": KEY, "FRAMECAST_ALPHA_VANTAGE_URL": server.address}
    environment["FRAMECAST_ALPHA_VANTAGE_PER_SECOND"] = "0"
    environment.pop("FRAMECAST_MIRROR", None)
    command = [str(BIN / "framecast"), "fetch", "stocks_daily"]
    fetching = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert asked.wait(STUCK_SECONDS)
    shown = Path(f"/proc/{fetching.pid}/cmdline").read_text().replace("\0", " ")
    go_on.set()
    said, _ = fetching.communicate(timeout=STUCK_SECONDS)
    assert fetching.returncode == 1, said
    assert "status 403" in said
    assert "fetch stocks_daily" in shown
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in stored} == {"daily_GOOGL.csv", "SHA256SUMS"}
    for text in (shown, said, *(path.name + path.read_text() for path in stored)):
        assert KEY not in text
        assert quote_plus(KEY) not in text


def test_the_environment_gives_key_address_and_rates(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.delenv("ALPHA_VANTAGE_KEY", raising=False)
    with pytest.raises(UserError, match="ALPHA_VANTAGE_KEY: expected your key"):
        AlphaVantage.from_environment()
    monkeypatch.setenv("ALPHA_VANTAGE_KEY", KEY)
    monkeypatch.setenv("FRAMECAST_ALPHA_VANTAGE_URL", server.address)
    monkeypatch.setenv("FRAMECAST_ALPHA_VANTAGE_PER_MINUTE", "75")
    service = AlphaVantage.from_environment()
    assert (service.address, service.per_second, service.per_minute) == (server.address, 1, 75)
    assert service.per_day == 25
    monkeypatch.setenv("FRAMECAST_ALPHA_VANTAGE_PER_DAY", "many")
    with pytest.raises(UserError, match="PER_DAY: expected a number of requests"):
        AlphaVantage.from_environment()


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real answers of the service, absent here")
def test_fetch_stocks_with_the_services_real_answers(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All five daily files through ``framecast fetch``, and a real month of minutes through the client."""

    def answer(_: int, query: Query) -> Answer:
        if "month" in query:
            return 200, (REAL / "intraday_extended_1min_MSFT_year1month1.csv").read_bytes()
        return 200, (REAL / f"daily_{query['symbol']}.csv").read_bytes()

    server.answers = answer
    monkeypatch.delenv("FRAMECAST_MIRROR", raising=False)
    monkeypatch.setenv("ALPHA_VANTAGE_KEY", KEY)
    monkeypatch.setenv("FRAMECAST_ALPHA_VANTAGE_URL", server.address)
    monkeypatch.setenv("FRAMECAST_ALPHA_VANTAGE_PER_SECOND", "0")
    fetch("stocks_daily", tmp_path, say=lambda _: None)
    for ticker in ("GOOGL", "META", "MSFT", "NVDA", "TSLA"):
        stored = tmp_path / "stocks" / f"daily_{ticker}.csv"
        assert stored.read_bytes() == (REAL / stored.name).read_bytes()
    AlphaVantage(KEY, address=server.address).download(tmp_path / "stocks", [PriceFile("MSFT", "2020-12")])
    assert len(read_sums(tmp_path / "stocks" / "SHA256SUMS")) == 6
    assert len(read_prices(tmp_path / "stocks" / "intraday_1min_MSFT_2020-12.csv").close) == 11190
