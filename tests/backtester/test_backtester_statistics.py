"""Statistics against their formulas, on curves where they can be worked out by hand."""

import statistics as standard
from math import sqrt
from typing import Any

import numpy as np
import pytest
from milepost_backtester.engine.backtesting_engine import EquityCurve
from milepost_backtester.engine.records import Fill, RoundTrip
from milepost_backtester.statistics import Statistics, compute_statistics

pytestmark = pytest.mark.unit

OF_TRADES = ("win_rate", "profit_factor", "average_trade")
DAY = 24 * 3600 * 10**9


def figures(
    equity: list[float], *, pnls: tuple[float, ...] = (), held: tuple[float, ...] = (), days: float = 1.0
) -> Statistics:
    count = len(equity)
    curve = EquityCurve(
        timestamp=(np.arange(count) * days * DAY).astype(np.int64),
        equity=np.array(equity, dtype=np.float64),
        cash=np.array(equity, dtype=np.float64),
        position=np.array(held or (0.0,) * count, dtype=np.float64),
    )
    trades = [RoundTrip(1, 2, 0, 1, 1.0, 1.0, 1.0, 0.5, pnl, 0.0, 0.0) for pnl in pnls]
    fills = [Fill(1, 0, 1, 1.0, 1.0, 0.25), Fill(2, 0, 1, -1.0, 1.0, 0.5)]
    return compute_statistics(curve, fills, trades, initial_cash=100.0)


def test_returns_and_risk_follow_their_formulas() -> None:
    """Total and annual return, volatility and Sharpe of daily bars equal what the formulas give."""
    equity = [100.0, 110.0, 99.0, 120.0]
    found = figures(equity)
    returns = [110 / 100 - 1, 99 / 110 - 1, 120 / 99 - 1]
    yearly = sqrt(365.25)
    assert found.total_return == pytest.approx(0.2)
    assert found.annual_return == pytest.approx(1.2 ** (365.25 / 3) - 1)
    assert found.volatility == pytest.approx(standard.stdev(returns) * yearly)
    assert found.sharpe == pytest.approx(standard.mean(returns) / standard.stdev(returns) * yearly)


@pytest.mark.parametrize(
    ("equity", "depth", "bars"),
    [
        ([100, 101, 102], 0.0, 0),
        ([100, 120, 90, 110, 120, 60, 130], 0.5, 2),
        ([100, 80, 70, 60], 0.4, 3),
        ([90, 95, 100], 0.1, 2),
    ],
)
def test_drawdown(equity: list[float], depth: float, bars: int) -> None:
    """The deepest fall below the highest so far, and the longest time below it, at either end too."""
    found = figures(equity)
    assert found.max_drawdown == pytest.approx(depth)
    assert found.max_drawdown_bars == bars


def test_trades_fees_and_exposure() -> None:
    """Win rate, profit factor, average, fees and exposure are shares and sums of what happened."""
    found = figures([100.0, 100, 100, 100], pnls=(3.0, -1.0, 0.0, -1.0), held=(0, 5, -5, 0))
    assert (found.trades, found.fills) == (4, 2)
    assert found.win_rate == 0.25
    assert found.profit_factor == 1.5
    assert found.average_trade == 0.25
    assert found.fees == 0.75
    assert found.exposure == 0.5


@pytest.mark.parametrize(
    ("equity", "absent"),
    [
        ([100.0, 100.0, 100.0], {"sharpe", *OF_TRADES}),
        ([100.0, -5.0, 10.0], {"volatility", "sharpe", *OF_TRADES}),
        (
            [100.0, 50.0, -1.0],
            {"annual_return", "volatility", "sharpe", "win_rate", "profit_factor", "average_trade"},
        ),
        ([100.0], {"annual_return", "volatility", "sharpe", "win_rate", "profit_factor", "average_trade"}),
    ],
)
def test_undefined_figures_are_none(equity: list[float], absent: set[str]) -> None:
    """No trades, no movement, a ruined account or a single bar leave exactly these figures undefined."""
    found: Any = figures(equity)
    assert {name for name in Statistics.__slots__ if getattr(found, name) is None} == absent


def test_an_annual_return_beyond_all_numbers_is_undefined() -> None:
    """A fast rise over a moment has no annual return that a float could hold."""
    assert figures([100.0, 1e9, 1e9], days=1e-6).annual_return is None
