"""Statistics against ``empyrical-reloaded``, an independent implementation of the same formulas."""

import warnings
from math import sqrt
from typing import Any

import numpy as np
import pytest
from milepost_backtester.engine.backtesting_engine import EquityCurve
from milepost_backtester.statistics import Statistics, compute_statistics

pytestmark = pytest.mark.unit

DAY = 24 * 3600 * 10**9
BARS = 1_500


def load_empyrical() -> Any:
    with warnings.catch_warnings():  # it and what it imports warn about their own future
        warnings.simplefilter("ignore")
        import empyrical

        return empyrical


@pytest.fixture(scope="module", params=[1, 2, 3])
def run(request: pytest.FixtureRequest) -> tuple[Statistics, Any, Any, float]:
    """Figures of a random walk beside a market that it follows half-way, and the returns of both."""
    draw = np.random.default_rng(request.param)
    market = draw.standard_t(4, BARS) * 0.01
    returns = 0.5 * market + draw.standard_t(4, BARS) * 0.008 + 0.0002
    equity = 1000 * np.cumprod(np.concatenate(([1.0], 1 + returns)))
    closes = 50 * np.cumprod(np.concatenate(([1.0], 1 + market)))
    curve = EquityCurve(np.arange(BARS + 1) * DAY, equity, equity, np.zeros(BARS + 1))
    found = compute_statistics(curve, [], [], initial_cash=1000.0, closes=closes)
    return found, equity[1:] / equity[:-1] - 1, closes[1:] / closes[:-1] - 1, 365.25


def test_growth_and_risk_equal_empyrical(run: tuple[Statistics, Any, Any, float]) -> None:
    """Growth, volatility, every ratio and the tail agree to nine digits."""
    found, returns, _, yearly = run
    peer = load_empyrical()
    assert found.bars_per_year == pytest.approx(yearly)
    expected = {
        "total_return": peer.cum_returns_final(returns),
        "annual_return": peer.cagr(returns, annualization=yearly),
        "volatility": peer.annual_volatility(returns, annualization=yearly),
        "sharpe": peer.sharpe_ratio(returns, annualization=yearly),
        "sortino": peer.sortino_ratio(returns, annualization=yearly),
        "calmar": peer.calmar_ratio(returns, annualization=yearly),
        "max_drawdown": -peer.max_drawdown(returns),
        "value_at_risk": -peer.value_at_risk(returns),
        "conditional_value_at_risk": -peer.conditional_value_at_risk(returns),
    }
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, rel=1e-9)


def test_the_comparison_equals_empyrical(run: tuple[Statistics, Any, Any, float]) -> None:
    """Alpha, beta and the excess over the market agree to nine digits; empyrical's ratio is of one bar."""
    found, returns, market, yearly = run
    peer = load_empyrical()
    alpha, beta = peer.alpha_beta(returns, market, annualization=yearly)
    expected = {
        "alpha": alpha,
        "beta": beta,
        "correlation": np.corrcoef(returns, market)[0, 1],
        "information_ratio": peer.excess_sharpe(returns, market) * sqrt(yearly),
        "benchmark_return": peer.cum_returns_final(market),
        "benchmark_max_drawdown": -peer.max_drawdown(market),
    }
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, rel=1e-9)
