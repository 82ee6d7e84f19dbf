"""Higher timeframes: gathered exactly, never seen early, the same across any cut."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as drawn
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bar, Bars, rows_of
from milepost_backtester.engine.timeframes import HigherBar, HigherTimeframe, period_nanoseconds
from milepost_backtester.strategies.trend_cross import TrendCross
from milepost_contracts.specs.strategies import TrendCrossParameters
from pydantic import ValidationError

from tests.backtester.backtest_doubles import digest_of, through_json
from tests.support.bars import make_bars

pytestmark = pytest.mark.unit

MINUTES = make_bars(3000, seed=11)
HOURS = replace(MINUTES, timestamp=MINUTES.timestamp * 60 // 10**9 * 10**9)


def with_holes(bars: Bars, seed: int) -> Bars:
    """Two thirds of them."""
    kept = np.random.default_rng(seed).random(len(bars)) < 0.67
    columns = ("timestamp", "open", "high", "low", "close", "volume")
    return Bars(*(np.ascontiguousarray(getattr(bars, name)[kept]) for name in columns))


def gathered(bars: Bars, timeframe: str) -> list[tuple[int, HigherBar]]:
    """Each complete higher bar and the bar at which it was seen."""
    higher, bar, found = HigherTimeframe(timeframe), Bar(), []
    for row in rows_of(bars, 0, len(bars)):
        bar.index, bar.timestamp, bar.open, bar.high, bar.low, bar.close, bar.volume = row
        complete = higher.see(bar)
        if complete is not None:
            found.append((bar.index, complete))
    return found


def rule(**parameters: Any) -> TrendCross:
    values = {"fast": 3, "slow": 9, "timeframe": "4h", "trend_bars": 3, "allow_short": True} | parameters
    return TrendCross(TrendCrossParameters.model_validate(values))


def run(bars: Bars, strategy: TrendCross) -> BacktestingEngine:
    engine = BacktestingEngine(bars, strategy, commission_rate=0.001)
    engine.advance()
    return engine


@pytest.mark.parametrize(
    ("timeframe", "rule_of_pandas"), [("15min", "15min"), ("4h", "4h"), ("1d", "1D"), ("1w", "W-MON")]
)
@pytest.mark.parametrize("seed", [1, 2])
def test_higher_bars_equal_those_of_pandas(timeframe: str, rule_of_pandas: str, seed: int) -> None:
    """Every complete period has the open, high, low, close and volume that pandas resamples."""
    bars = with_holes(MINUTES if timeframe == "15min" else HOURS, seed)
    frame = pd.DataFrame(
        {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")},
        index=pd.to_datetime(bars.timestamp, utc=True),
    )
    resampled = frame.resample(rule_of_pandas, label="left", closed="left").agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    expected = resampled[resampled["volume"] > 0][:-1]  # the last one is never known to be complete
    found = [each for _, each in gathered(bars, timeframe.replace("min", "m"))]
    assert [each.timestamp for each in found] == expected.index.as_unit("ns").asi8.tolist()
    for name in ("open", "high", "low", "close", "volume"):
        assert [getattr(each, name) for each in found] == expected[name].tolist()


def test_a_higher_bar_is_seen_with_the_first_bar_after_it() -> None:
    """Neither before its period is over nor later than at the next bar there is."""
    bars = with_holes(HOURS, 3)
    period = period_nanoseconds("1d")
    found = gathered(bars, "1d")
    assert len(found) > 50
    for index, complete in found:
        end = complete.timestamp + period
        assert bars.timestamp[index - 1] < end <= bars.timestamp[index]


@settings(max_examples=25, deadline=None)
@given(after=drawn.integers(min_value=50, max_value=1990), seed=drawn.integers(0, 1000))
def test_bars_to_come_change_nothing_before_them(after: int, seed: int) -> None:
    """With other bars after t, every fill up to t and the equity up to t stay as they are."""
    bars = with_holes(HOURS, 4)
    after = min(after, len(bars) - 1)
    other = make_bars(len(bars), seed=seed)
    mixed = Bars(
        bars.timestamp,
        *(
            np.concatenate([getattr(bars, name)[:after], getattr(other, name)[after:]])
            for name in ("open", "high", "low", "close", "volume")
        ),
    )
    one, two = run(bars, rule()), run(mixed, rule())
    assert one.equity[:after].tolist() == two.equity[:after].tolist()
    assert [fill for fill in one.fills if fill.bar < after] == [
        fill for fill in two.fills if fill.bar < after
    ]


def test_a_run_cut_after_any_bar_ends_the_same() -> None:
    """Bars 1 to n, then a fresh engine from n + 1 on: equal for every n."""
    bars = with_holes(replace(HOURS, **{name: getattr(HOURS, name)[:300] for name in HOURS.__slots__}), 5)
    whole = run(bars, rule())
    assert len(whole.trades) > 3
    expected = digest_of(whole)
    first = BacktestingEngine(bars, rule(), commission_rate=0.001)
    for _ in range(len(bars)):
        state, logs = through_json(first.state_dict()), first.logs.copy()
        second = BacktestingEngine(bars, rule(), commission_rate=0.001)
        second.load_state_dict(state, logs)
        second.advance()
        assert digest_of(second) == expected
        first.step()


def test_no_order_before_everything_is_warm() -> None:
    """The first order comes after ``slow`` bars and ``trend_bars`` complete higher bars."""
    bars = HOURS
    complete = [index for index, _ in gathered(bars, "1d")]
    engine = run(bars, rule(timeframe="1d", trend_bars=5))
    assert engine.fills[0].submitted_bar >= complete[4]


@pytest.mark.parametrize("written", ["", "d", "0h", "-1d", "1.5h", "1y", "1d ", "100000m"])
def test_what_is_no_timeframe_is_refused(written: str) -> None:
    """By the spec with the field's name, and by the engine with an example."""
    with pytest.raises(ValidationError, match="timeframe"):
        TrendCrossParameters(timeframe=written)
    with pytest.raises(ValueError, match="such as 15m, 4h, 1d or 1w"):
        period_nanoseconds(written)
