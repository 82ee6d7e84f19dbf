"""Figures of round trips and fills."""

from collections.abc import Sequence
from math import sqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from milepost_backtester.engine.bars import Floats
from milepost_backtester.engine.records import Fill, RoundTrip
from milepost_backtester.statistics.figures import Figure, Figures, Undefined
from milepost_backtester.statistics.sums import deviation, mean, total

OF_ANY_TRADE = (
    "win_rate",
    "expectancy",
    "average_trade_return",
    "best_trade",
    "worst_trade",
    "average_trade_bars",
)
NO_TRADE = Undefined("there is no finished trade")

Rows: TypeAlias = NDArray[Any]
"""A table of records: the engine's log as it is."""
Fills: TypeAlias = Rows | Sequence[Fill]
Trades: TypeAlias = Rows | Sequence[RoundTrip]


def column(rows: Fills | Trades, name: str) -> Floats:
    """Return one field of all rows."""
    if isinstance(rows, np.ndarray):
        return rows[name].astype(np.float64)
    return np.array([getattr(row, name) for row in rows], dtype=np.float64)


def trade_figures(trades: Trades) -> Figures:
    """Return the figures of round trips, in the order of their exits."""
    count = len(trades)
    profits = column(trades, "pnl")
    found: dict[str, Figure] = {
        "trades": count,
        "longest_losing_streak": _longest_run(profits < 0),
        "system_quality_number": _system_quality_number(profits),
        **_ratios(profits),
    }
    if not count:
        return found | dict.fromkeys(OF_ANY_TRADE, NO_TRADE)
    paid = np.abs(column(trades, "quantity")) * column(trades, "entry_price")
    held = column(trades, "exit_bar") - column(trades, "entry_bar")
    return found | {
        "win_rate": int(np.count_nonzero(profits > 0)) / count,
        "expectancy": mean(profits),
        "average_trade_return": mean(profits / paid),
        "best_trade": float(profits.max()),
        "worst_trade": float(profits.min()),
        "average_trade_bars": mean(held),
    }


def cost_figures(fills: Fills, equity: Floats, years: float) -> Figures:
    """Return what was traded and paid."""
    traded = total(np.abs(column(fills, "quantity")) * column(fills, "price"))
    average = mean(equity)
    turnover: Figure
    annual: Figure
    if average > 0:
        turnover = traded / average
        annual = turnover / years if years > 0 else Undefined("one bar is no time")
    else:
        turnover = annual = Undefined("the mean equity is not positive")
    return {
        "fills": len(fills),
        "fees": total(column(fills, "commission")),
        "turnover": turnover,
        "annual_turnover": annual,
    }


def _ratios(profits: Floats) -> Figures:
    """What compares profits with losses."""
    names = ("profit_factor", "payoff_ratio", "kelly_fraction")
    if not len(profits):
        return dict.fromkeys(names, NO_TRADE)
    gains, losses = profits[profits > 0], -profits[profits < 0]
    if not len(losses):
        return dict.fromkeys(names, Undefined("no trade has a loss"))
    factor = total(gains) / total(losses)
    if not len(gains):
        reason = Undefined("no trade has a profit")
        return {"profit_factor": factor, "payoff_ratio": reason, "kelly_fraction": reason}
    payoff = mean(gains) / mean(losses)
    share = len(gains) / len(profits)
    return {
        "profit_factor": factor,
        "payoff_ratio": payoff,
        "kelly_fraction": share - (1 - share) / payoff,
    }


def _system_quality_number(profits: Floats) -> Figure:
    if len(profits) < 2:
        return Undefined("fewer than two finished trades")
    spread = deviation(profits)
    return sqrt(len(profits)) * mean(profits) / spread if spread else Undefined("all trades are alike")


def _longest_run(losing: NDArray[np.bool_]) -> int:
    edges = np.concatenate(([-1], np.flatnonzero(~losing), [len(losing)]))
    return int(np.max(np.diff(edges))) - 1
