"""The run beside buying and holding the same bars."""

from math import sqrt

import numpy as np

from milepost_backtester.engine.bars import Floats
from milepost_backtester.statistics.drawdowns import depths
from milepost_backtester.statistics.figures import Figure, Figures, Undefined
from milepost_backtester.statistics.sums import covariance, deviation, grown, mean

OF_RETURNS = ("alpha", "beta", "correlation", "information_ratio")
NAMES = ("benchmark_return", "benchmark_max_drawdown", "excess_return", *OF_RETURNS)


def held_value(closes: Floats) -> Floats:
    """Return what 1 becomes when it is held: closes of one symbol, (bars,), or of several, (symbols, bars)."""
    if closes.ndim == 1:
        return closes / closes[0]
    return np.add.reduce(closes / closes[:, :1], axis=0) / len(closes)


def benchmark_figures(
    total_return: float,
    returns: Floats | Undefined,
    bars_per_year: float | Undefined,
    closes: Floats | None,
) -> Figures:
    """Return the comparison; undefined without closes."""
    if closes is None:
        return dict.fromkeys(NAMES, Undefined("there is nothing to compare with"))
    held = held_value(closes)
    gain = float(held[-1]) - 1
    found: dict[str, Figure] = {
        "benchmark_return": gain,
        "benchmark_max_drawdown": float(np.max(depths(held, 1.0))),
        "excess_return": total_return - gain,
    }
    if isinstance(returns, Undefined):
        return found | dict.fromkeys(OF_RETURNS, returns)
    if isinstance(bars_per_year, Undefined):
        return found | dict.fromkeys(OF_RETURNS, bars_per_year)
    return found | _compared(returns, held[1:] / held[:-1] - 1, bars_per_year)


def _compared(returns: Floats, market: Floats, bars_per_year: float) -> dict[str, Figure]:
    spread, market_spread = deviation(returns), deviation(market)
    difference = returns - market
    tracking = deviation(difference)
    found: dict[str, Figure] = {
        "information_ratio": mean(difference) / tracking * sqrt(bars_per_year)
        if tracking
        else Undefined("the run and the benchmark do not differ in their movement"),
    }
    if not market_spread:
        still = Undefined("the price does not move")
        return found | {"alpha": still, "beta": still, "correlation": still}
    together = covariance(returns, market)
    beta = together / covariance(market, market)
    return found | {
        "alpha": grown(mean(returns) - beta * mean(market), bars_per_year),
        "beta": beta,
        "correlation": together / (spread * market_spread)
        if spread
        else Undefined("the returns do not vary"),
    }
