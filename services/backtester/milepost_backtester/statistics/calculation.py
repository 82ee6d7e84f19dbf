"""From the logs of a run to its figures."""

from dataclasses import asdict

import numpy as np

from milepost_backtester.engine.account import Outcome
from milepost_backtester.engine.backtesting_engine import EquityCurve
from milepost_backtester.engine.bars import Floats
from milepost_backtester.statistics.benchmark import benchmark_figures
from milepost_backtester.statistics.drawdowns import find_drawdowns
from milepost_backtester.statistics.figures import Statistics, Undefined, statistics_of
from milepost_backtester.statistics.market import Market, market_of
from milepost_backtester.statistics.returns import growth_figures, risk_figures, simple_returns
from milepost_backtester.statistics.trades import Fills, Trades, cost_figures, trade_figures

NOTHING_ELSE = Outcome(0, 0, 0, 0.0)


def compute_statistics(
    curve: EquityCurve,
    fills: Fills,
    trades: Trades,
    *,
    initial_cash: float,
    orders_waiting: int = 0,
    closes: Floats | None = None,
    market: Market | None = None,
    outcome: Outcome = NOTHING_ELSE,
) -> Statistics:
    """Return the figures of a run; the curve must hold at least one bar.

    ``closes`` of the same bars, (bars,) or (symbols, bars), are what the run is compared with; ``market`` stands
    for them and the bars' times where it was made before. ``outcome``: what happened beside fills.
    """
    equity = curve.equity
    market = market or market_of(curve.timestamp, closes)
    returns = simple_returns(equity)
    drawdowns = find_drawdowns(curve.timestamp, equity, initial_cash)
    growth = growth_figures(equity, initial_cash, market.years, drawdowns)
    return statistics_of(
        {
            "bars": len(equity),
            "bars_per_year": market.bars_per_year,
            "initial_cash": initial_cash,
            "final_equity": float(equity[-1]),
            **growth,
            **risk_figures(returns, market.bars_per_year),
            **drawdowns.figures(),
            "exposure": _exposed(curve.position) / len(equity),
            **trade_figures(trades),
            **cost_figures(fills, equity, market.years),
            **benchmark_figures(float(equity[-1]) / initial_cash - 1, returns, market),
            "open_position": float(curve.position[-1])
            if curve.position.ndim == 1
            else Undefined("units of several symbols do not add up"),
            "orders_waiting": orders_waiting,
            **asdict(outcome),
        }
    )


def _exposed(position: Floats) -> int:
    """Count the bars with any position: (bars,) or (symbols, bars)."""
    return int(np.count_nonzero(position if position.ndim == 1 else position.any(axis=0)))
