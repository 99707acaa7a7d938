"""Stocks: the readers, share splits against the published history, and windows that share no date between splits."""

import json
from pathlib import Path

import numpy as np
import pytest

from framecast.artifacts import sha256_of
from framecast.data.base import SPLITS
from framecast.data.formats.prices import Prices, read_prices
from framecast.data.formats.sha256sums import read_sums, write_sums
from framecast.data.formats.share_splits import adjusted, find_splits
from framecast.data.stocks import Stocks
from framecast.errors import UserError

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "stocks"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="needs the real price files, absent here")

DAILY = "timestamp,open,high,low,close,volume\n2021-03-03,12,13,11,12.5,100\n2021-03-02,11,12,10,11.5,90\n"
EXTENDED = "time" + DAILY[9:].replace("2021-03-03", "2021-03-02 09:31:00").replace(
    "2021-03-02,", "2021-03-02 09:30:00,"
)
YAHOO = "Date,Open,High,Low,Close,Adj Close,Volume\n2021-03-02,11,12,10,11.5,11,90\n2021-03-03,12,13,11,12.5,12,100\n"
HISTORY_OF_YFINANCE = (  # summer time begins between the two
    "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits\n"
    "2021-03-12 00:00:00-05:00,11,12,10,11.5,90,0.0,0.0\n2021-03-15 00:00:00-04:00,12,13,11,12.5,100,0.0,0.0\n"
)
MINUTES_OF_YFINANCE = (
    "Datetime,Open,High,Low,Close,Volume\n"
    "2021-03-12 15:59:00-05:00,11,12,10,11.5,90\n2021-03-15 09:30:00-04:00,12,13,11,12.5,100\n"
)
DOWNLOAD_OF_YFINANCE = (
    "Price,Close,High,Low,Open,Volume\nTicker,XYZ,XYZ,XYZ,XYZ,XYZ\nDate,,,,,\n"
    "2021-03-02,11.5,12,10,11,90\n2021-03-03,12.5,13,11,12,100\n"
)
BY_TICKER = "\n".join(DOWNLOAD_OF_YFINANCE.split("\n")[i] for i in (1, 0, 2, 3, 4, 5))
NASDAQ = "Date,Close/Last,Volume,Open,High,Low\n03/03/2021,$12.5,100,$12,$13,$11\n03/02/2021,$11.50,90,$11,$12,$10\n"
ENTRY = {"1. open": "11", "2. high": "12", "3. low": "10", "4. close": "11.5", "5. volume": "90"}
JSON = json.dumps(
    {
        "Meta Data": {"2. Symbol": "XYZ"},
        "Time Series (1min)": {
            "2021-03-02 09:31:00": ENTRY | {"1. open": "12", "4. close": "12.5", "5. volume": "100"},
            "2021-03-02 09:30:00": ENTRY,
        },
    }
)


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def random_walk(ticker: str, days: int, seed: int, start: str = "2015-01-01", swing: float = 0.01) -> Prices:
    generator = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(generator.normal(0, swing, days)))
    opening = np.concatenate([[100.0], close[:-1] * np.exp(generator.normal(0, swing / 3, days - 1))])
    stamps = (np.datetime64(start) + np.arange(days)).astype("datetime64[s]")
    return Prices(ticker, stamps, close, opening, generator.uniform(0.7, 1.4, days) * 1e6)


def stored(raw: Path, *all_prices: Prices) -> Path:
    """Write series as daily Alpha Vantage files with their SHA256SUMS."""
    folder = raw / "stocks"
    folder.mkdir(exist_ok=True)
    sums = {}
    for prices in all_prices:
        rows = [
            f"{stamp},{opening!r},1,1,{close!r},{volume!r}"
            for stamp, opening, close, volume in zip(
                prices.timestamps.astype("datetime64[D]"),
                map(float, prices.open),
                map(float, prices.close),
                map(float, prices.volume),
                strict=True,
            )
        ]
        text = "timestamp,open,high,low,close,volume\n" + "\n".join(rows[::-1]) + "\n"
        path = written(folder, f"daily_{prices.ticker}_{len(sums)}.csv", text)
        sums[path.name] = sha256_of(path)
    write_sums(folder / "SHA256SUMS", sums)
    return raw


# --- readers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "interval"),
    [
        ("daily_XYZ.csv", DAILY, "daily"),
        ("daily_XYZ_to_2021.csv", DAILY.replace("\n", "\r\n"), "daily"),
        ("intraday_extended_1min_XYZ_year1month1.csv", EXTENDED, "1min"),
        ("XYZ.csv", YAHOO, "daily"),
        ("answer.json", JSON, "1min"),
        ("XYZ.csv", HISTORY_OF_YFINANCE, "daily"),
        ("XYZ.csv", HISTORY_OF_YFINANCE.replace(" 00:00:00-05:00", "T00:00:00.000-0500"), "daily"),
        ("XYZ.csv", HISTORY_OF_YFINANCE.replace("-05:00", "+00:00").replace("-04:00", "Z"), "daily"),
        ("prices.csv", DOWNLOAD_OF_YFINANCE, "daily"),
        ("prices.csv", BY_TICKER, "daily"),
        ("XYZ.csv", NASDAQ, "daily"),
        ("XYZ.csv", "\ufeff" + YAHOO, "daily"),
    ],
    ids=[
        "daily",
        "daily CRLF",
        "extended intraday",
        "Yahoo",
        "JSON",
        "history over summer time",
        "history in ISO's form",
        "whole days in UTC",
        "download",
        "download by ticker",
        "Nasdaq",
        "byte order mark",
    ],
)
def test_every_format_gives_the_same_prices_oldest_first(tmp_path: Path, name: str, text: str, interval: str) -> None:
    prices = read_prices(written(tmp_path, name, text))
    assert prices.ticker == "XYZ"
    assert prices.interval == interval
    assert prices.close.tolist() == [11.5, 12.5]
    assert prices.open.tolist() == [11, 12]
    assert prices.volume.tolist() == [90, 100]
    assert (np.diff(prices.timestamps) > np.timedelta64(0)).all()


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("daily_XYZ.csv", "", "found an empty file"),
        ("daily_XYZ.csv", "symbol,price\nXYZ,1\n", "found 'symbol,price'"),
        ("daily_XYZ.csv", "<html>busy</html>\n", "found '<html>busy</html>'"),
        ("daily_XYZ.csv", DAILY.splitlines()[0], "found only the header"),
        ("daily_XYZ.csv", DAILY.replace("close", "last"), "found no close"),
        ("daily_XYZ.csv", DAILY.replace("12.5", "null"), "close of 2021-03-03, found 'null'"),
        ("daily_XYZ.csv", DAILY.replace("12.5", "-12.5"), "close of 2021-03-03, found '-12.5'"),
        ("daily_XYZ.csv", DAILY.replace("12.5", "0"), "a positive price"),
        ("daily_XYZ.csv", DAILY.replace("12.5", "inf"), "found 'inf'"),
        ("daily_XYZ.csv", DAILY.replace("03-03", "03-02"), "found 2021-03-02 more than once"),
        ("daily_XYZ.csv", DAILY.replace("2021-03-03", "yesterday"), "found 'yesterday'"),
        ("daily_XYZ.csv", DAILY[:-8], "line 3: expected 6 fields, found '2021-03-02,11,12,10,'"),
        ("daily_XYZ.csv", DAILY.replace("12.5,100", "12.5,100,7"), "line 2: expected 6 fields, found "),
        ("prices.csv", DAILY, "expected a ticker in the file name"),
        ("AAA_BBB.csv", DAILY, "found AAA and BBB; rename the file"),
        ("daily_XYZ.csv", DAILY.replace("2021-03-03", "03/03/2021"), "found '03/03/2021'"),
        ("daily_XYZ.csv", DAILY.replace("2021-03-03", "20210303"), "found '20210303'"),
        ("daily_XYZ.csv", DAILY.replace("2021-03-03", "1614729600"), "found '1614729600'"),
        ("daily_XYZ.csv", DAILY.replace("2021-03-03", "2021"), "found '2021'"),
        ("daily_XYZ.csv", DAILY.replace("2021-03-03", "2021-02-30"), "found '2021-02-30'"),
        ("XYZ.csv", HISTORY_OF_YFINANCE.replace(" 00:00:00-05:00", ""), "found '2021-03-12' without one"),
        (
            "XYZ.csv",
            HISTORY_OF_YFINANCE.replace("00:00:00-05:00", "05:00:00Z").replace("-04", "+00"),
            "found UTC (2021",
        ),
        (
            "XYZ.csv",
            MINUTES_OF_YFINANCE.replace("-05:00", "+00:00").replace("-04:00", "+00:00"),
            "found UTC (2021-03-12",
        ),
        ("XYZ.csv", DOWNLOAD_OF_YFINANCE.replace("XYZ,XYZ\n", "XYZ,ABC\n"), "one ticker, found ABC, XYZ"),
        ("XYZ.csv", DOWNLOAD_OF_YFINANCE.replace("Date,,,,,\n", ""), "expected lines Price,…, Ticker,… and Date,…"),
        ("XYZ.csv", DOWNLOAD_OF_YFINANCE.replace("90\n", "90,1\n"), "line 4: expected 6 fields"),
        ("XYZ.csv", ",XYZ,XYZ.1\n,Open,Close\nDate,,\n2021-03-02,1,2\n", "found ',XYZ,XYZ.1'"),
        ("XYZ.csv", NASDAQ.replace("03/03/2021", "13/03/2021"), "found '2021-13-03'"),
        ("XYZ.csv", NASDAQ.replace("$12.5", "12,5"), "line 2: expected 6 fields"),
        ("XYZ.csv", YAHOO.replace("Adj Close", "close"), "expected every column once, found close"),
        ("XYZ.csv", YAHOO.replace("Date,", "Day,"), "found 'Day,Open"),
        ("answer.json", JSON[:-30], "expected whole JSON"),
        ("answer.json", '{"Meta Data": {}}', "found Meta Data"),
        ("daily_XYZ.csv", '{"Note": "Our standard call frequency is 5 calls per minute"}', "Note: Our standard"),
        ("daily_XYZ.csv", '{"Error Message": "Invalid API call."}', "Error Message: Invalid API call."),
    ],
)
def test_a_bad_file_is_refused_in_one_line_with_its_path(tmp_path: Path, name: str, text: str, told: str) -> None:
    path = written(tmp_path, name, text)
    with pytest.raises(UserError) as refused:
        read_prices(path)
    assert str(refused.value).startswith(str(path))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_offset_moves_no_price_to_another_day_or_hour(tmp_path: Path) -> None:
    """Tokyo's midnight is the day before in UTC, and New York's hours there change with summer time."""
    days = ["2021-03-12", "2021-03-15"]
    for name, text in (
        ("XYZ.csv", HISTORY_OF_YFINANCE),
        ("7203.T.csv", HISTORY_OF_YFINANCE.replace("-05:00", "+09:00").replace("-04:00", "+09:00")),
        ("daily_VOD.L.csv", HISTORY_OF_YFINANCE.replace("-05:00", "+00:00").replace("-04:00", "+01:00")),
    ):
        assert (
            read_prices(written(tmp_path, name, text)).timestamps.astype("datetime64[D]").astype(str).tolist() == days
        )
    minutes = read_prices(written(tmp_path, "XYZ.csv", MINUTES_OF_YFINANCE)).timestamps
    assert minutes.astype("datetime64[m]").astype(str).tolist() == ["2021-03-12T15:59", "2021-03-15T09:30"]


@pytest.mark.parametrize(
    ("name", "ticker"),
    [
        ("BRK-B.csv", "BRK-B"),
        ("daily_BF.B.csv", "BF.B"),
        ("VOD.L.csv", "VOD.L"),
        ("daily_SAP.DE_2021.csv", "SAP.DE"),
        ("TSCO.LON.csv", "TSCO.LON"),
        ("0700.HK.csv", "0700.HK"),
        ("NOVO-B.CO.csv", "NOVO-B.CO"),
        ("^GSPC.csv", "^GSPC"),
        ("NYSE_IBM.csv", "IBM"),
        ("NYSE:BRK-B.csv", "BRK-B"),
        ("BATS_TSLA, 1D.csv", "TSLA"),
        ("CBOE.csv", "CBOE"),  # who runs an exchange has shares too
        ("MSFT Historical Data.csv", "MSFT"),
        ("intraday_1min_MSFT_2021-03.csv", "MSFT"),
    ],
)
def test_the_ticker_is_told_from_what_stands_around_it(tmp_path: Path, name: str, ticker: str) -> None:
    assert read_prices(written(tmp_path, name, DAILY)).ticker == ticker


def test_a_list_does_not_count_itself(tmp_path: Path) -> None:
    """As ``sha256sum`` writes it of a folder that has a list already, here and from another system."""
    raw = stored(tmp_path, random_walk("AAA", 600, seed=1))
    index = raw / "stocks" / "SHA256SUMS"
    expected = read_sums(index)
    before = Stocks(interval="daily", validation_fraction=0.2, test_fraction=0.3).prepare(raw)
    (name, digest), *_ = expected.items()
    for text in (
        f"{'0' * 64}  SHA256SUMS\n{digest}  {name}\n",
        f"{'0' * 64} *./SHA256SUMS\r\n{digest} *./{name}\r\n",
        f"\ufeff{digest}  {name}\r\n{'0' * 64}  SHA256SUMS",
        f"{digest}  {name}\n{'0' * 64}  SHA256SUMS\n{digest}  {name}\n{'1' * 64}  SHA256SUMS\n",  # written to twice
    ):
        index.write_text(text, encoding="utf-8", newline="")
        assert read_sums(index) == expected
    after = Stocks(interval="daily", validation_fraction=0.2, test_fraction=0.3).prepare(raw)
    np.testing.assert_array_equal(after.arrays["train"], before.arrays["train"])


def test_a_key_that_the_service_quotes_is_masked(tmp_path: Path) -> None:
    text = '{"Information": "We have detected your API key as A1B2C3D4E5F6G7H8 and our limit is 25 requests per day."}'
    with pytest.raises(UserError) as refused:
        read_prices(written(tmp_path, "daily_XYZ.csv", text))
    assert "25 requests per day" in str(refused.value)
    assert "A1B2C3D4" not in str(refused.value)


@needs_real
@pytest.mark.parametrize(
    ("name", "ticker", "interval", "rows", "first", "last", "last_close"),
    [
        ("alphavantage/daily_TSLA.csv", "TSLA", "daily", 3400, "2010-06-29", "2023-12-29", 248.48),
        ("alphavantage/daily_FB_to_2022-04-12.csv", "FB", "daily", 2492, "2012-05-18", "2022-04-12", 214.14),
        (
            "alphavantage/intraday_extended_1min_MSFT_year1month1.csv",
            "MSFT",
            "1min",
            11190,
            "2020-11-23T04:01",
            "2020-12-18T20:00",
            218.75,
        ),
        (
            "alphavantage/extended_intraday_IBM_15min_year1month1_adjusted.csv",
            "IBM",
            "15min",
            980,
            "2021-09-29T07:00",
            "2021-10-28T20:00",
            125.84,
        ),
        (
            "alphavantage/intraday_1min_MSFT_compact.json",
            "MSFT",
            "1min",
            100,
            "2017-12-18T13:17",
            "2017-12-18T14:56",
            86.5,
        ),
        ("yahoo/AMD.csv", "AMD", "daily", 1092, "2020-01-02", "2024-05-03", 150.600006),
    ],
)
def test_real_files_are_read_whole(
    name: str, ticker: str, interval: str, rows: int, first: str, last: str, last_close: float
) -> None:
    prices = read_prices(REAL / name)
    assert (prices.ticker, prices.interval, len(prices.close)) == (ticker, interval, rows)
    assert prices.timestamps[[0, -1]].tolist() == np.array([first, last], "datetime64[s]").tolist()
    assert prices.close[-1] == last_close


# --- share splits ---------------------------------------------------------------------------------

HISTORY = {
    "AAPL": ["2000-06-21 2:1", "2005-02-28 2:1", "2014-06-09 7:1", "2020-08-31 4:1"],
    "AMZN": ["2022-06-06 20:1"],
    "FB": [],
    "GOOGL": ["2014-04-03 2:1", "2022-07-18 20:1"],
    "META": [],
    "MSFT": ["2003-02-18 2:1"],
    "NVDA": ["2000-06-27 2:1", "2001-09-17 2:1", "2006-04-07 2:1", "2007-09-11 3:2", "2021-07-20 4:1"],
    "TSLA": ["2020-08-31 5:1", "2022-08-25 3:1"],
}


@needs_real
def test_the_splits_found_in_real_prices_are_those_that_happened() -> None:
    """Every split of eight series since 1999, and no crash: AAPL lost half overnight on 2000-09-29 without one."""
    for path in sorted(REAL.glob("alphavantage/daily_*.csv")):
        prices = read_prices(path)
        assert [str(split) for split in find_splits(prices)] == [
            f"{prices.ticker} {split}" for split in HISTORY[prices.ticker]
        ]


@needs_real
def test_adjusted_real_prices_agree_with_yahoos_adjusted_ones() -> None:
    """An independent adjustment of the same prices: every close within 2 %, the day before a 20:1 split included."""
    for ticker in ("TSLA", "NVDA"):
        ours = read_prices(REAL / "alphavantage" / f"daily_{ticker}.csv")
        yahoo = read_prices(REAL / "yahoo" / f"{ticker}.csv")
        assert find_splits(yahoo) == []
        ours_adjusted = adjusted(ours, find_splits(ours))
        _, i, j = np.intersect1d(ours.timestamps, yahoo.timestamps, return_indices=True)
        assert len(i) > 900
        np.testing.assert_allclose(ours_adjusted.close[i], yahoo.close[j], rtol=0.02)


@pytest.mark.parametrize(("new", "old"), [(2, 1), (3, 2), (20, 1), (1, 10)])
def test_a_split_is_found_and_undone_exactly(new: int, old: int) -> None:
    truth = random_walk("XYZ", 120, seed=1)
    before = np.arange(120) < 60
    factor = np.where(before, new / old, 1.0)
    traded = Prices("XYZ", truth.timestamps, truth.close * factor, truth.open * factor, truth.volume / factor)
    found = find_splits(traded)
    assert [str(split) for split in found] == [f"XYZ {truth.timestamps[60].astype('datetime64[D]')} {new}:{old}"]
    np.testing.assert_allclose(adjusted(traded, found).close, truth.close, rtol=1e-12)


def test_a_crash_to_a_half_on_heavy_turnover_is_no_split() -> None:
    truth = random_walk("XYZ", 120, seed=2)
    factor = np.where(np.arange(120) < 60, 2.0, 1.0)
    volume = truth.volume * np.where(np.arange(120) == 60, 12, 1)
    assert find_splits(Prices("XYZ", truth.timestamps, truth.close * factor, truth.open * factor, volume)) == []


# --- windows --------------------------------------------------------------------------------------


def test_windows_are_the_normalised_consecutive_closes_of_their_period(tmp_path: Path) -> None:
    """Against the definition: cut the calendar at the two dates, step by 50 rows, (x − min) / (max − min)."""
    walks = [random_walk("AAA", 1000, seed=1), random_walk("BBB", 900, seed=2, start="2015-03-01")]
    made = Stocks(interval="daily", validation_fraction=0.2, test_fraction=0.3).prepare(stored(tmp_path, *walks))
    first, last = walks[0].timestamps[0], max(walk.timestamps[-1] for walk in walks)
    days = (last - first) // np.timedelta64(1, "D") + 1
    cuts = [0, days - round(days * 0.5), days - round(days * 0.3), days]
    for number, name in enumerate(("train", "validation", "test")):
        expected = []
        for walk in walks:
            age = (walk.timestamps - first) // np.timedelta64(1, "D")
            close = walk.close[(age >= cuts[number]) & (age < cuts[number + 1])]
            for start in range(0, len(close) - 49, 50):
                window = close[start : start + 50]
                expected.append((window - window.min()) / (window.max() - window.min()))
        np.testing.assert_allclose(made.arrays[name][..., 0], np.array(expected), atol=1e-6)
        assert made.arrays[name].dtype == np.float32
    assert made.facts["sequences"] == {name: len(made.arrays[name]) for name in SPLITS}
    ends = [day for name in ("train", "validation", "test") for day in made.facts["periods"][name]]
    assert ends == sorted(ends)
    assert len(set(ends)) == 6


def test_windows_that_begin_on_one_day_are_one_group(tmp_path: Path) -> None:
    """Two tickers of the same days, and one that begins 20 days later; one window never moves and is dropped."""
    walks = [random_walk("AAA", 1000, 1), random_walk("BBB", 1000, 2), random_walk("CCC", 900, 3, start="2015-01-21")]
    walks[0].close[-50:] = 1.0
    arrays = (
        Stocks(interval="daily", validation_fraction=0.2, test_fraction=0.3).prepare(stored(tmp_path, *walks)).arrays
    )
    for name in SPLITS:
        assert arrays[f"{name}_group"].shape == arrays[name].shape[:1]
    assert arrays["test_group"].tolist() == [*range(5), *range(6), *range(4)]
    own = [np.unique(arrays["train_group"][at : at + count]) for at, count in ((0, 10), (10, 10), (20, 9))]
    assert np.array_equal(own[0], own[1])
    assert not set(own[1]) & set(own[2])


def test_only_training_windows_overlap(tmp_path: Path) -> None:
    raw = stored(tmp_path, random_walk("AAA", 1000, seed=1))
    apart = Stocks(interval="daily", validation_fraction=0.2, test_fraction=0.3).prepare(raw).arrays
    dense = Stocks(interval="daily", validation_fraction=0.2, test_fraction=0.3, train_stride=1).prepare(raw).arrays
    assert len(dense["train"]) == 500 - 49
    np.testing.assert_array_equal(dense["train"][::50], apart["train"])
    for name in ("validation", "test"):
        np.testing.assert_array_equal(dense[name], apart[name])


def test_constant_windows_are_dropped_and_counted_and_gaps_are_not_spanned(tmp_path: Path) -> None:
    walk = random_walk("AAA", 1000, seed=1)
    walk.close[50:100] = walk.close[50]
    halves = [
        Prices("AAA", walk.timestamps[part], walk.close[part], walk.open[part], walk.volume[part])
        for part in (slice(0, 120), slice(150, 1000))
    ]
    facts = (
        Stocks(interval="daily", validation_fraction=0.2, test_fraction=0.3).prepare(stored(tmp_path, *halves)).facts
    )
    assert facts["constant_windows_dropped"] == {"train": 1, "validation": 0, "test": 0}
    assert facts["sequences"]["train"] == (2 - 1) + 350 // 50  # 120 rows before the missing month, 350 after it


def test_the_ticker_split_tests_on_tickers_never_trained_on(tmp_path: Path) -> None:
    raw = stored(tmp_path, *(random_walk(ticker, 400, seed) for seed, ticker in enumerate(("AAA", "BBB", "TSLA"))))
    made = Stocks(interval="daily", split_by="tickers", validation_fraction=0.3).prepare(raw)
    assert made.facts["tickers"] == {"train": ["AAA", "BBB"], "validation": ["AAA", "BBB"], "test": ["TSLA"]}
    assert made.facts["sequences"] == {"train": 2 * 5, "validation": 2 * 2, "test": 8}
    alone = Stocks(interval="daily", split_by="tickers", test_tickers=["AAA", "BBB"], validation_fraction=0.3)
    np.testing.assert_array_equal(alone.prepare(raw).arrays["train"][:, 0, 0], made.arrays["test"][:5, 0, 0])


@pytest.mark.parametrize(
    ("symbols", "tested", "scale"),
    [(("META", "FB"), "FB", 1), (("GOOGL", "GOOG"), "GOOG", 2), (("AAA", "ZZZ"), "ZZZ", 3)],
)
def test_one_company_is_never_on_both_sides(
    tmp_path: Path, symbols: tuple[str, str], tested: str, scale: float
) -> None:
    """FB became META (one series, joined); share classes and unknown twins are told by symbol or by their returns."""
    walk = random_walk(symbols[0], 400, seed=5)
    twin = Prices(symbols[1], walk.timestamps, walk.close * scale, walk.open * scale, walk.volume)
    raw = stored(tmp_path, walk, twin, random_walk("BBB", 400, seed=6))
    dataset = Stocks(interval="daily", split_by="tickers", test_tickers=[tested], validation_fraction=0.3)
    if tested == "FB":
        assert dataset.prepare(raw).facts["tickers"]["test"] == ["META"]
        assert dataset.prepare(raw).facts["tickers"]["train"] == ["BBB"]
    else:
        with pytest.raises(UserError, match="one company's prices"):
            dataset.prepare(raw)


def test_share_splits_are_undone_before_windows_are_cut_or_refused(tmp_path: Path) -> None:
    truth = random_walk("AAA", 600, seed=3)
    factor = np.where(np.arange(600) < 130, 4.0, 1.0)
    traded = Prices("AAA", truth.timestamps, truth.close * factor, truth.open * factor, truth.volume / factor)
    for name in ("truth", "traded"):
        (tmp_path / name).mkdir()
    fractions = {"interval": "daily", "validation_fraction": 0.2, "test_fraction": 0.3}
    expected = Stocks(**fractions).prepare(stored(tmp_path / "truth", truth))
    found = Stocks(**fractions).prepare(stored(tmp_path / "traded", traded))
    np.testing.assert_allclose(found.arrays["train"], expected.arrays["train"], atol=1e-6)
    assert found.facts["share_splits_adjusted"] == ["AAA 2015-05-11 4:1"]
    with pytest.raises(UserError, match=r"AAA 2015-05-11 4:1.*split_adjustment: adjust"):
        Stocks(**fractions, split_adjustment="refuse").prepare(tmp_path / "traded")


def test_a_raw_file_that_is_not_as_listed_stops_prepare(tmp_path: Path) -> None:
    dataset = Stocks(interval="daily")
    with pytest.raises(UserError, match=r"framecast fetch stocks_daily.*ALPHA_VANTAGE_KEY.*sha256sum"):
        dataset.prepare(tmp_path)
    raw = stored(tmp_path, random_walk("AAA", 600, seed=1))
    path, index = raw / "stocks" / "daily_AAA_0.csv", raw / "stocks" / "SHA256SUMS"
    whole, expected = path.read_bytes(), sha256_of(path)
    for damaged in (whole[:-40], whole.replace(b"2015-02-03", b"2015-02-31"), whole + b"\n"):
        path.write_bytes(damaged)
        with pytest.raises(UserError) as refused:
            dataset.prepare(raw)
        for part in (str(path), expected, sha256_of(path)):
            assert part in str(refused.value)
    path.unlink()
    with pytest.raises(UserError, match="found none"):
        dataset.prepare(raw)
    path.write_bytes(whole)
    with pytest.raises(UserError, match=r"expected 1min prices \(interval\), found daily"):
        Stocks().prepare(raw)
    index.write_text("not a checksum\n")
    with pytest.raises(UserError, match="line 1: expected '<sha256>"):
        dataset.prepare(raw)
    index.write_text(f"{expected}  ../outside.csv\n")
    with pytest.raises(UserError, match="inside this folder"):
        read_sums(index)


def test_files_of_one_ticker_that_disagree_are_refused(tmp_path: Path) -> None:
    walk = random_walk("AAA", 600, seed=1)
    half = Prices("AAA", walk.timestamps, walk.close / 2, walk.open / 2, walk.volume)
    with pytest.raises(UserError, match="files of AAA disagree at 2015-01-01"):
        Stocks(interval="daily").prepare(stored(tmp_path, walk, half))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"split_by": "tickers", "test_tickers": ["TSLA"]}, "found TSLA; allowed: AAPL, "),
        ({"validation_fraction": 0.0}, "expected validation windows of 50"),
        ({"context": 200, "horizon": 200}, "windows of 400 consecutive prices"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(arguments: dict, told: str) -> None:
    with pytest.raises(UserError) as refused:
        Stocks(source="bundled", **arguments).prepare(Path("unused"))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


# --- sources --------------------------------------------------------------------------------------


def test_bundled_is_real_disjoint_in_dates_and_large_enough_to_train_on() -> None:
    made = Stocks(source="bundled", train_stride=1).prepare(Path("unused"))
    assert made.facts["source"] == "bundled"
    assert len(made.arrays["train"]) > 300
    assert made.facts["sequences"]["test"] >= 20
    for name in SPLITS:
        rows = made.arrays[name]
        assert rows.shape[1:] == (50, 1)
        assert (rows.min(axis=1) == 0).all()
        assert (rows.max(axis=1) == 1).all()
    periods = made.facts["periods"]
    assert periods["train"][1] < periods["validation"][0] <= periods["validation"][1] < periods["test"][0]
    again = Stocks(source="bundled", train_stride=1).prepare(Path("elsewhere"))
    assert all(again.arrays[name].tobytes() == rows.tobytes() for name, rows in made.arrays.items())
    assert json.dumps(again.facts) == json.dumps(made.facts)


@needs_real
def test_official_on_the_real_files(tmp_path: Path) -> None:
    """Eight daily files as traded, FB and META joined; one month of real minutes."""
    folder = tmp_path / "stocks"
    folder.mkdir()
    for path in REAL.glob("alphavantage/*.csv"):
        (folder / path.name).symlink_to(path.resolve())
    write_sums(folder / "SHA256SUMS", {path.name: sha256_of(path) for path in folder.glob("*.csv")})
    daily = Stocks(interval="daily", validation_fraction=0.1, test_fraction=0.25).prepare(tmp_path)
    assert daily.facts["tickers"]["test"] == ["AAPL", "AMZN", "GOOGL", "META", "MSFT", "NVDA", "TSLA"]
    assert len(daily.facts["share_splits_adjusted"]) == sum(map(len, HISTORY.values()))
    assert sum(daily.facts["sequences"].values()) > 650
    minutes = Stocks(validation_fraction=0.1, test_fraction=0.25).prepare(tmp_path)
    assert minutes.facts["tickers"]["train"] == ["MSFT"]
    windows = sum(minutes.facts["sequences"].values()) + sum(minutes.facts["constant_windows_dropped"].values())
    assert 11190 // 50 - 2 <= windows <= 11190 // 50  # the thesis: about 232 windows in a slice of a month
