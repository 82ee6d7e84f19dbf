"""Bad data: what can only be wrong is refused, what may be right is doubted, each with its row."""

from pathlib import Path

import numpy as np
import pytest
from milepost_backtester.bar_doubts import doubtful_bars
from milepost_backtester.bar_table import BarProblem, BarTable
from milepost_backtester.engine.bars import Bars, Floats, Integers
from milepost_backtester.market_data import check_bars, doubts_about, read_bars

from tests.backtester.report_doubles import shares
from tests.backtester.ten_kinds import EXPECTED, KINDS, REFUSED, as_csv, good_bars

pytestmark = pytest.mark.unit


def table_of(directory: Path, content: str) -> BarTable:
    path = directory / "bars.csv"
    path.write_text(content)
    return read_bars(path)


def bars_of(timestamp: Integers, close: Floats) -> Bars:
    opens = np.concatenate((close[:1], close[:-1]))
    high, low = np.maximum(opens, close) * 1.001, np.minimum(opens, close) * 0.999
    return Bars(timestamp, opens, high, low, close, np.ones(len(close)))


def doubts(timestamp: Integers, close: Floats) -> list[BarProblem]:
    return doubtful_bars(bars_of(timestamp, close), np.arange(1, len(close) + 1))


def times(first: str, last: str, step: str) -> Integers:
    return np.arange(first, last, np.timedelta64(1, step), dtype="datetime64[ns]").astype(np.int64)


def walk(count: int, spread: float = 0.001) -> Floats:
    return 100 * np.exp(np.cumsum(np.random.default_rng(3).standard_t(4, count) * spread))


def minutes_of_shares(weeks: int) -> Integers:
    """Sessions from 14:30 to 21:00 UTC, Monday to Friday."""
    days = np.busday_offset("2024-01-08", np.arange(weeks * 5)).astype("datetime64[ns]").astype(np.int64)
    return (days[:, np.newaxis] + (870 + np.arange(390)) * 60 * 10**9).ravel()


def test_good_bars_are_neither_refused_nor_doubted(tmp_path: Path) -> None:
    """The bars that the kinds are made from have nothing wrong."""
    table = table_of(tmp_path, as_csv(good_bars()))
    assert check_bars(table) == []
    assert doubts_about(table) == []


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_bad_data_is_named_with_its_row(tmp_path: Path, kind: str) -> None:
    """Eight kinds are refused, a gap and a spike are doubted, and the first words name the row."""
    table = table_of(tmp_path, as_csv(KINDS[kind](good_bars())))
    faults = check_bars(table)
    found = faults if kind in REFUSED else doubts_about(table)
    assert bool(faults) == (kind in REFUSED)
    assert str(found[0]).startswith(EXPECTED[kind])
    assert len(found) <= 5


@pytest.mark.parametrize("factor", [0.1, 0.75, 1.35, 100.0])
def test_a_spike_in_any_price_is_one_doubt(factor: float) -> None:
    """A close that leaps and is back the bar after is named once, whichever way it leapt."""
    close = walk(500)
    close[300] *= factor
    found = doubts(times("2024-01-01T00", "2024-01-21T20", "h"), close)
    assert [(doubt.row, doubt.message[:6]) for doubt in found] == [(301, "spike:")]


def test_a_spike_of_the_low_alone_is_seen() -> None:
    """A low far below, in a bar that closes as usual, is named with its column."""
    bars = bars_of(times("2024-01-01T00", "2024-01-21T20", "h"), walk(500))
    bars.low[250] *= 0.5
    found = doubtful_bars(bars, np.arange(1, 501))
    assert [(doubt.row, doubt.column) for doubt in found] == [(251, "low")]


def test_a_price_that_stays_where_it_leapt_is_a_jump() -> None:
    """A split that nobody adjusted for is named once."""
    close = walk(500)
    close[300:] /= 4
    found = doubts(times("2024-01-01T00", "2024-01-21T20", "h"), close)
    assert [(doubt.row, doubt.message[:5]) for doubt in found] == [(301, "jump:")]


def test_nights_weekends_and_holidays_are_no_gaps() -> None:
    """Minutes of sessions with two holidays, and daily bars, have no doubts about their times."""
    minutes = minutes_of_shares(30)
    day = minutes // (86_400 * 10**9)
    open_days = np.unique(day)
    minutes = minutes[~np.isin(day, open_days[[17, 44]])]
    assert doubts(minutes, walk(len(minutes), 0.0002)) == []


def test_holes_in_a_session_are_gaps() -> None:
    """An hour missing around noon, and a fortnight missing, are named with what could have been there."""
    minutes = minutes_of_shares(30)
    kept = np.ones(len(minutes), bool)
    kept[390 * 20 + 100 : 390 * 20 + 160] = False
    kept[390 * 60 : 390 * 70] = False
    found = doubts(minutes[kept], walk(int(kept.sum()), 0.0002))
    assert [doubt.row for doubt in found] == [390 * 20 + 101, 390 * 60 - 60 + 1]
    assert found[0].message == "gap: 2024-02-05T16:09:00 is the bar before, room for 60 more of them"


def test_a_missing_hour_of_a_market_that_never_closes_is_a_gap() -> None:
    """Around the clock even two bars that are not there are a gap."""
    hours = times("2024-01-01T00", "2024-06-01T00", "h")
    found = doubts(np.delete(hours, [1000, 1001]), walk(len(hours) - 2))
    assert [doubt.row for doubt in found] == [1001]


def test_bars_that_are_missing_all_over_are_no_gaps() -> None:
    """A market in which a third of the minutes has no trade is not reported minute by minute."""
    minutes = times("2024-01-01T00", "2024-01-15T00", "m")
    kept = np.sort(np.random.default_rng(5).choice(minutes, len(minutes) * 2 // 3, replace=False))
    assert len(doubts(kept, walk(len(kept)))) <= 2


@pytest.mark.parametrize(
    ("ticker", "expected"),
    [
        ("AAPL", ["79 jump", "149 jump", "387 gap", "1255 jump"]),
        ("GOOG", []),
        ("IBM", ["387 gap"]),
        ("MSFT", ["387 gap", "744 jump"]),
    ],
)
def test_real_shares_raise_real_doubts(ticker: str, expected: list[str]) -> None:
    """Thirteen years of daily bars: three splits, one profit warning, the closed exchanges of September 2001."""
    timestamp, _, close = shares(ticker)
    found = doubts(timestamp, close)
    assert [f"{doubt.row} {doubt.message.split(':')[0]}" for doubt in found] == expected


def test_nothing_can_be_said_of_two_bars() -> None:
    """Two bars have no usual distance, and prices that never move have no leaps."""
    assert doubts(times("2024-01-01", "2024-01-03", "D"), np.array([1.0, 2.0])) == []
    assert doubts(times("2024-01-01", "2024-01-21", "D"), np.full(20, 3.0)) == []
