"""Figures of the equity's returns."""

from math import sqrt

import numpy as np

from milepost_backtester.engine.bars import Floats
from milepost_backtester.statistics.drawdowns import Drawdowns
from milepost_backtester.statistics.figures import Figure, Figures, Undefined
from milepost_backtester.statistics.sums import Sample, grown, mean, mean_downside, sample_of

TAIL = 0.05
"""Share of the bars that are called the worst."""
NAMES = ("volatility", "sharpe", "sortino", "value_at_risk", "conditional_value_at_risk")


def simple_returns(equity: Floats) -> Sample | Undefined:
    """Return one return for each bar but the first, or why there are none worth the name."""
    if len(equity) < 3:
        return Undefined("fewer than three bars")
    if equity.min() <= 0:
        ruined = int(np.argmax(equity <= 0))
        return Undefined(f"the equity is not positive at bar {ruined}")
    return sample_of(equity[1:] / equity[:-1] - 1)


def growth_figures(equity: Floats, initial_cash: float, years: float, drawdowns: Drawdowns) -> Figures:
    """Return what the first and the last equity say."""
    total_return = float(equity[-1]) / initial_cash - 1
    annual: float | Undefined
    if total_return <= -1:
        annual = Undefined("nothing is left at the end")
    elif years <= 0:
        annual = Undefined("one bar is no time")
    else:
        annual = grown(total_return, 1 / years)
    calmar: Figure
    if isinstance(annual, Undefined):
        calmar = annual
    else:
        calmar = annual / drawdowns.depth if drawdowns.depth else Undefined("there is no drawdown")
    return {"total_return": total_return, "annual_return": annual, "calmar": calmar}


def risk_figures(returns: Sample | Undefined, bars_per_year: float | Undefined) -> Figures:
    """Return volatility, the ratios and the tail."""
    if isinstance(returns, Undefined):
        return dict.fromkeys(NAMES, returns)
    if isinstance(bars_per_year, Undefined):
        return dict.fromkeys(NAMES, bars_per_year)
    yearly = sqrt(bars_per_year)
    average, spread = returns.average, returns.spread
    downside = sqrt(mean_downside(returns.values))
    quantile, shortfall = _tail(returns.values)
    return {
        "volatility": spread * yearly,
        "sharpe": average / spread * yearly if spread else Undefined("the returns do not vary"),
        "sortino": average / downside * yearly if downside else Undefined("no bar has a loss"),
        "value_at_risk": -quantile,
        "conditional_value_at_risk": -shortfall,
    }


def _tail(returns: Floats) -> tuple[float, float]:
    """The lower quantile, linear between two returns, and the mean of what lies up to it."""
    place = TAIL * (len(returns) - 1)
    whole = int(place)
    lowest = np.sort(np.partition(returns, whole + 1)[: whole + 2])
    below, above = float(lowest[whole]), float(lowest[whole + 1])
    return below + (above - below) * (place - whole), mean(lowest[: whole + 1])
