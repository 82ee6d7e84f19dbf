"""What a backtest amounts to. Each figure's formula stands at its field.

Sums are exact (``math.fsum``) and everything else but one power is correctly rounded, so the figures do not
depend on the machine; the power is rounded to 12 digits for the same reason. An undefined figure is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt

import numpy as np

from milepost_backtester.engine.backtesting_engine import EquityCurve
from milepost_backtester.engine.bars import Floats
from milepost_backtester.engine.records import Fill, RoundTrip

YEAR_NANOSECONDS = 365.25 * 24 * 3600 * 1e9


@dataclass(frozen=True, slots=True)
class Statistics:
    """Returns are simple returns of the equity from one close to the next; the risk-free rate is 0."""

    bars: int
    initial_cash: float
    final_equity: float
    total_return: float
    """``final_equity / initial_cash - 1``."""
    annual_return: float | None
    """``(1 + total_return) ** (1 / years) - 1``, years of 365.25 days from the first bar to the last."""
    volatility: float | None
    """``stdev(returns) * sqrt(bars_per_year)``, sample deviation, bars_per_year = ``(bars - 1) / years``."""
    sharpe: float | None
    """``mean(returns) / stdev(returns) * sqrt(bars_per_year)``."""
    max_drawdown: float
    """``max(1 - equity / highest equity so far)``, the highest from the initial cash on."""
    max_drawdown_bars: int
    """Most bars in a row with an equity below the highest so far."""
    exposure: float
    """Share of the bars with a position at the close."""
    fills: int
    trades: int
    """Round trips; a position still open is none."""
    win_rate: float | None
    """Share of the trades with ``pnl > 0``."""
    profit_factor: float | None
    """Sum of the profits over the sum of the losses."""
    average_trade: float | None
    """Sum of ``pnl`` over the number of trades."""
    fees: float
    """Commission of all fills."""
    open_position: float
    """Units held at the end, marked at the last close."""
    orders_waiting: int
    """Orders decided at the last bar, which never filled."""


def compute_statistics(
    curve: EquityCurve,
    fills: Sequence[Fill],
    trades: Sequence[RoundTrip],
    *,
    initial_cash: float,
    orders_waiting: int = 0,
) -> Statistics:
    """Return the figures of a run; the curve must hold at least one bar."""
    final_equity = float(curve.equity[-1])
    total_return = final_equity / initial_cash - 1
    years = float(curve.timestamp[-1] - curve.timestamp[0]) / YEAR_NANOSECONDS
    volatility, sharpe = _risk(curve.equity, years)
    depth, length = _drawdown(curve.equity, initial_cash)
    profits = fsum(trade.pnl for trade in trades if trade.pnl > 0)
    losses = -fsum(trade.pnl for trade in trades if trade.pnl < 0)
    count = len(trades)
    return Statistics(
        bars=len(curve.equity),
        initial_cash=initial_cash,
        final_equity=final_equity,
        total_return=total_return,
        annual_return=_annual(total_return, years),
        volatility=volatility,
        sharpe=sharpe,
        max_drawdown=depth,
        max_drawdown_bars=length,
        exposure=int(np.count_nonzero(curve.position)) / len(curve.position),
        fills=len(fills),
        trades=count,
        win_rate=sum(trade.pnl > 0 for trade in trades) / count if count else None,
        profit_factor=profits / losses if losses else None,
        average_trade=fsum(trade.pnl for trade in trades) / count if count else None,
        fees=fsum(fill.commission for fill in fills),
        open_position=float(curve.position[-1]),
        orders_waiting=orders_waiting,
    )


def _annual(total_return: float, years: float) -> float | None:
    if total_return <= -1 or years <= 0:
        return None
    try:
        return float(f"{(1 + total_return) ** (1 / years) - 1:.12g}")
    except OverflowError:
        return None


def _risk(equity: Floats, years: float) -> tuple[float | None, float | None]:
    # After a ruin there are no returns to speak of.
    if len(equity) < 3 or years <= 0 or bool(np.any(equity <= 0)):
        return None, None
    returns = equity[1:] / equity[:-1] - 1
    mean = fsum(returns) / len(returns)
    deviation = sqrt(fsum((returns - mean) ** 2) / (len(returns) - 1))
    yearly = sqrt((len(equity) - 1) / years)
    return deviation * yearly, mean / deviation * yearly if deviation else None


def _drawdown(equity: Floats, initial_cash: float) -> tuple[float, int]:
    highest = np.maximum(np.maximum.accumulate(equity), initial_cash)
    depth = float(np.max(1 - equity / highest))
    at_peak = np.flatnonzero(equity >= highest)
    edges = np.concatenate(([-1], at_peak, [len(equity)]))
    return depth, int(np.max(np.diff(edges))) - 1
