"""Statistics against their formulas, on curves where they can be worked out by hand."""

import json
import statistics as standard
from dataclasses import asdict, replace
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from milepost_backtester.engine.backtesting_engine import BacktestingEngine, EquityCurve
from milepost_backtester.engine.orders import Conditions
from milepost_backtester.engine.records import Fill, RoundTrip
from milepost_backtester.engine.terms import Terms
from milepost_backtester.results import write_results
from milepost_backtester.run import Run
from milepost_backtester.statistics import Statistics, compute_statistics, monthly_returns
from milepost_backtester.statistics.compiled_peaks import falls
from milepost_runtime.digests import canonical_json

from tests.backtester.backtest_doubles import Script, bars_of

pytestmark = pytest.mark.unit

DAY = 24 * 3600 * 10**9
OF_TRADES = {
    "win_rate",
    "profit_factor",
    "payoff_ratio",
    "expectancy",
    "average_trade_return",
    "best_trade",
    "worst_trade",
    "average_trade_bars",
    "system_quality_number",
    "kelly_fraction",
}
OF_RETURNS = {"volatility", "sharpe", "sortino", "value_at_risk", "conditional_value_at_risk"}
OF_BENCHMARK = {
    "benchmark_return",
    "benchmark_max_drawdown",
    "excess_return",
    "alpha",
    "beta",
    "correlation",
    "information_ratio",
}


def figures(
    equity: list[float],
    *,
    pnls: tuple[float, ...] = (),
    held: tuple[float, ...] = (),
    days: float = 1.0,
    closes: list[float] | None = None,
) -> Statistics:
    count = len(equity)
    curve = EquityCurve(
        timestamp=(np.arange(count) * days * DAY).astype(np.int64),
        equity=np.array(equity, dtype=np.float64),
        cash=np.array(equity, dtype=np.float64),
        position=np.array(held or (0.0,) * count, dtype=np.float64),
    )
    trades = [RoundTrip(1, 2, 1, 4, -2.0, 10.0, 1.0, 0.5, pnl, 0.0, 0.0) for pnl in pnls]
    fills = [Fill(1, 0, 1, 1.0, 30.0, 0.25), Fill(2, 0, 1, -2.0, 10.0, 0.5)]
    return compute_statistics(
        curve, fills, trades, initial_cash=100.0, closes=None if closes is None else np.array(closes)
    )


def test_returns_and_risk_follow_their_formulas() -> None:
    """Growth, volatility, the ratios and the tail of daily bars equal what the formulas give."""
    equity = [100.0, 110.0, 99.0, 120.0]
    found = figures(equity)
    returns = [110 / 100 - 1, 99 / 110 - 1, 120 / 99 - 1]
    yearly = sqrt(365.25)
    annual = 1.2 ** (365.25 / 3) - 1
    assert found.total_return == pytest.approx(0.2)
    assert found.annual_return == pytest.approx(annual)
    assert found.calmar == pytest.approx(annual / 0.1)
    assert found.volatility == pytest.approx(standard.stdev(returns) * yearly)
    assert found.sharpe == pytest.approx(standard.mean(returns) / standard.stdev(returns) * yearly)
    assert found.sortino == pytest.approx(standard.mean(returns) / sqrt(0.1**2 / 3) * yearly)
    assert found.value_at_risk == pytest.approx(0.1 - 0.1 * 0.2)  # a tenth of the way from -0.1 to 0.1
    assert found.conditional_value_at_risk == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("equity", "depth", "bars", "days", "longest_bars", "longest_days"),
    [
        ([100, 101, 102], 0.0, 0, 0, 0, 0),
        ([100, 120, 90, 110, 120, 60, 130], 0.5, 1, 2, 2, 3),
        ([100, 80, 70, 60], 0.4, 3, 3, 3, 3),
        ([90, 95, 100], 0.1, 2, 2, 2, 2),
    ],
)
def test_drawdown(
    equity: list[float], depth: float, bars: int, days: float, longest_bars: int, longest_days: float
) -> None:
    """The deepest fall below the highest so far and the longest, in bars and in time, at either end too."""
    found = figures(equity)
    assert found.max_drawdown == pytest.approx(depth)
    assert (found.max_drawdown_bars, found.max_drawdown_seconds) == (bars, days * 86_400)
    assert (found.longest_drawdown_bars, found.longest_drawdown_seconds) == (
        longest_bars,
        longest_days * 86_400,
    )


def falls_at_every_bar(timestamp: np.ndarray, equity: np.ndarray, first: float) -> tuple[float, ...]:
    """The same with a depth at every bar, as the formulas are written."""
    below = 1 - equity / np.maximum.accumulate(np.maximum(equity, first))
    edges = np.concatenate(([-1], np.flatnonzero(below <= 0), [len(equity)]))
    ends = timestamp[np.minimum(edges[1:], len(equity) - 1)]
    bars = np.diff(edges) - 1
    seconds = np.where(bars > 0, (ends - timestamp[np.maximum(edges[:-1], 0)]) / 1e9, 0.0)
    deepest = int(np.argmax(below))
    if below[deepest] <= 0:
        return (0.0, 0, 0.0, 0, 0.0)
    part = int(np.searchsorted(edges, deepest)) - 1
    return below[deepest], bars[part], seconds[part], bars.max(), seconds.max()


def test_drawdowns_of_any_curve_are_those_of_the_formulas() -> None:
    """One pass over the peaks finds to the last bit what a depth at every bar says, with ties and below 0 too."""
    for seed in range(200):
        draw = np.random.default_rng(seed)
        steps = draw.normal(0, 10.0 ** draw.integers(-3, 2), draw.integers(1, 400)) * (draw.random() < 0.9)
        equity = 100 + np.cumsum(np.round(steps, int(draw.integers(0, 12))))
        timestamp = np.cumsum(draw.integers(1, 10**15, len(equity)))
        first = float(draw.choice([equity[0], 100.0, equity.max() + 1]))
        assert falls(timestamp, equity, first) == falls_at_every_bar(timestamp, equity, first)


def test_trades_and_exposure() -> None:
    """Everything about round trips is a share, a sum or a mean of what happened."""
    pnls = (3.0, -1.0, 0.0, -1.0)
    found = figures([100.0, 100, 100, 100], pnls=pnls, held=(0, 5, -5, 0))
    assert (found.trades, found.fills, found.exposure) == (4, 2, 0.5)
    assert (found.win_rate, found.profit_factor, found.payoff_ratio) == (0.25, 1.5, 3.0)
    assert found.expectancy == 0.25
    assert found.average_trade_return == pytest.approx(0.25 / 20)
    assert (found.best_trade, found.worst_trade) == (3.0, -1.0)
    assert (found.average_trade_bars, found.longest_losing_streak) == (3.0, 1)
    assert found.system_quality_number == pytest.approx(2 * 0.25 / standard.stdev(pnls))
    assert found.kelly_fraction == pytest.approx(0.25 - 0.75 / 3)


def test_costs() -> None:
    """Fees are summed, turnover is traded value over mean equity, for the run and for a year of it."""
    found = figures([100.0, 80, 120, 100])
    assert found.fees == 0.75
    assert found.turnover == 0.5
    assert found.annual_turnover == pytest.approx(0.5 * 365.25 / 3)


def test_losing_streaks_count_from_either_end() -> None:
    """The longest run of losses is found at the end of the trades too."""
    assert figures([100.0] * 3, pnls=(-1, 2, -1, -1, 0, -1, -1, -1)).longest_losing_streak == 3


def test_the_run_is_compared_with_holding_the_same_bars() -> None:
    """A run of twice the market's returns has a beta of 2, a correlation of 1 and no alpha."""
    market = [0.1, -0.05, 0.02, 0.03]
    closes, equity = [10.0], [100.0]
    for rate in market:
        closes.append(closes[-1] * (1 + rate))
        equity.append(equity[-1] * (1 + 2 * rate))
    found = figures(equity, closes=closes)
    assert found.benchmark_return == pytest.approx(closes[-1] / 10 - 1)
    assert found.excess_return == pytest.approx(equity[-1] / 100 - closes[-1] / 10)
    assert found.benchmark_max_drawdown == pytest.approx(0.05)
    assert found.beta == pytest.approx(2.0)
    assert found.correlation == pytest.approx(1.0)
    assert found.alpha == pytest.approx(0.0, abs=1e-12)
    assert found.information_ratio == pytest.approx(
        standard.mean(market) / standard.stdev(market) * sqrt(365.25)
    )


def test_a_benchmark_of_several_symbols_holds_each_alike() -> None:
    """Half the money in each of two symbols gives the mean of their returns."""
    curve_closes = np.array([[10.0, 11.0, 12.0], [100.0, 90.0, 100.0]])
    curve = EquityCurve(np.arange(3) * DAY, np.full(3, 100.0), np.full(3, 100.0), np.zeros(3))
    found = compute_statistics(curve, [], [], initial_cash=100.0, closes=curve_closes)
    assert found.benchmark_return == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("equity", "absent"),
    [
        ([100.0, 100.0, 100.0], {"sharpe", "sortino", "calmar"}),
        ([100.0, -5.0, 10.0], OF_RETURNS),
        ([100.0, 50.0, -1.0], {"annual_return", "calmar", *OF_RETURNS}),
        ([100.0, -50.0, -150.0], {"annual_return", "calmar", "turnover", "annual_turnover", *OF_RETURNS}),
        ([100.0, 101.0], {"calmar", *OF_RETURNS}),
        ([100.0], {"annual_return", "bars_per_year", "calmar", "annual_turnover", *OF_RETURNS}),
    ],
)
def test_undefined_figures_are_none_with_a_reason(equity: list[float], absent: set[str]) -> None:
    """No trades, no movement, a ruined account or too few bars leave exactly these undefined, and say why."""
    found = figures(equity)
    values = asdict(found)
    assert {name for name, value in values.items() if value is None} == absent | OF_TRADES | OF_BENCHMARK
    assert found.undefined.keys() == absent | OF_TRADES | OF_BENCHMARK
    assert all(found.undefined.values())
    assert b"NaN" not in canonical_json(values)


def test_ratios_without_losses_are_undefined() -> None:
    """Where no trade lost, or none won, what divides by it is undefined and the rest is not."""
    won = figures([100.0, 101, 102], pnls=(1.0, 1.0))
    assert won.undefined["profit_factor"] == "no trade has a loss"
    assert won.undefined["system_quality_number"] == "all trades are alike"
    assert won.win_rate == 1.0
    lost = figures([100.0, 99, 98], pnls=(-1.0, -2.0))
    assert lost.profit_factor == 0.0
    assert lost.undefined["kelly_fraction"] == "no trade has a profit"


def test_an_annual_return_beyond_all_numbers_is_undefined() -> None:
    """A fast rise over a moment has no annual return that a float could hold."""
    found = figures([100.0, 1e9, 1e9], days=1e-6)
    assert found.annual_return is None
    assert "too short" in found.undefined["annual_return"]


def test_months_chain_from_the_initial_cash() -> None:
    """Each month with bars has its return over the last equity before it; their product is the total return."""
    days = np.array(["2023-12-28", "2023-12-29", "2024-01-02", "2024-03-29"], dtype="datetime64[ns]")
    found = monthly_returns(days.astype(np.int64), np.array([100.0, 110.0, 99.0, 198.0]), 100.0)
    assert [(part.year, part.month) for part in found] == [(2023, 12), (2024, 1), (2024, 3)]
    assert [part.rate for part in found] == pytest.approx([0.1, -0.1, 1.0])


def test_a_month_after_ruin_has_no_return() -> None:
    """Nothing can be gained on nothing."""
    days = np.array(["2024-01-30", "2024-02-01"], dtype="datetime64[ns]").astype(np.int64)
    assert [part.rate for part in monthly_returns(days, np.array([-1.0, 50.0]), 100.0)] == [-1.01, None]


def test_every_figure_is_documented() -> None:
    """The page about backtesting has a row for each figure."""
    page = (Path(__file__).parents[2] / "docs" / "backtesting.md").read_text()
    assert [name for name in Statistics.__slots__ if f"| `{name}` |" not in page] == ["undefined"]


def test_what_happens_beside_fills_is_in_the_results(tmp_path: Path) -> None:
    """Borrow cost, refused and expired orders and margin calls of a run stand in its files, by their formulas."""
    year = 365.25 * DAY
    rows = [(100.0, 101.0, 99.0, 100.0)] * 4 + [(160.0, 161.0, 159.0, 160.0)] * 2
    actions = {
        0: lambda broker: (broker.order(-15), broker.order(1, Conditions(limit=50, day=True))),
        1: lambda broker: broker.order(-10),
    }
    bars = replace(bars_of(*rows), timestamp=np.arange(6) * DAY)
    terms = Terms(leverage_max=2, maintenance_margin=0.4, borrow_rate=0.1)
    engine = BacktestingEngine(bars, Script(actions), initial_cash=1000.0, terms=terms)
    engine.advance()
    write_results(engine, Run("script", ("hand",), bars, {}, 1000.0), tmp_path)
    found = json.loads((tmp_path / "statistics.json").read_text())
    shorts = [-15 * 100.0] * 3 + [-15 * 160.0]
    assert found["borrow_cost"] == pytest.approx(sum(-value * 0.1 * DAY / year for value in shorts))
    assert (found["orders_refused"], found["orders_expired"], found["margin_calls"]) == (1, 1, 1)
    assert found["fills"] == 2
    page = (tmp_path / "report.html").read_text()
    assert all(words in page for words in ("Borrow cost", "Orders refused", "Orders expired", "Margin calls"))
