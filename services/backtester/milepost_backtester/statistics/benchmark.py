"""The run beside buying and holding the same bars."""

from math import sqrt

from milepost_backtester.statistics.figures import Figure, Figures, Undefined
from milepost_backtester.statistics.market import Market
from milepost_backtester.statistics.sums import Sample, covariance, grown, sample_of

OF_RETURNS = ("alpha", "beta", "correlation", "information_ratio")
NAMES = ("benchmark_return", "benchmark_max_drawdown", "excess_return", *OF_RETURNS)


def benchmark_figures(total_return: float, returns: Sample | Undefined, market: Market) -> Figures:
    """Return the comparison; undefined without closes."""
    benchmark = market.benchmark
    if benchmark is None:
        return dict.fromkeys(NAMES, Undefined("there is nothing to compare with"))
    found: dict[str, Figure] = {
        "benchmark_return": benchmark.gain,
        "benchmark_max_drawdown": benchmark.max_drawdown,
        "excess_return": total_return - benchmark.gain,
    }
    if isinstance(returns, Undefined):
        return found | dict.fromkeys(OF_RETURNS, returns)
    if isinstance(market.bars_per_year, Undefined):
        return found | dict.fromkeys(OF_RETURNS, market.bars_per_year)
    if benchmark.returns is None:
        return found | dict.fromkeys(OF_RETURNS, Undefined("fewer than three bars"))
    return found | _compared(returns, benchmark.returns, market.bars_per_year)


def _compared(returns: Sample, market: Sample, bars_per_year: float) -> dict[str, Figure]:
    difference = sample_of(returns.values - market.values)
    found: dict[str, Figure] = {
        "information_ratio": difference.average / difference.spread * sqrt(bars_per_year)
        if difference.spread
        else Undefined("the run and the benchmark do not differ in their movement"),
    }
    if not market.spread:
        still = Undefined("the price does not move")
        return found | {"alpha": still, "beta": still, "correlation": still}
    together = covariance(returns.values, market.values, means=(returns.average, market.average))
    beta = together / market.variance
    return found | {
        "alpha": grown(returns.average - beta * market.average, bars_per_year),
        "beta": beta,
        "correlation": together / (returns.spread * market.spread)
        if returns.spread
        else Undefined("the returns do not vary"),
    }
