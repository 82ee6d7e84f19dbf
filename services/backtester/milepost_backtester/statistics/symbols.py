"""Figures of each symbol of a portfolio."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np

from milepost_backtester.engine.bars import Floats
from milepost_backtester.statistics.figures import Figure, Undefined
from milepost_backtester.statistics.trades import Rows, column, trade_figures


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolStatistics:
    """What one symbol had in a run of several; what has no value is None."""

    fills: int
    trades: int
    """Round trips."""
    win_rate: float | None
    """Share of the trades with ``pnl > 0``."""
    profit_factor: float | None
    """Sum of the profits over the sum of the losses."""
    profit: float
    """``sum(-quantity * price - commission)`` over the fills, plus what is held at the last close: in money,
    before what borrowing cost. Those of all symbols, less that, add up to the change of the equity."""
    fees: float
    """Commission of its fills."""
    exposure: float
    """Share of the bars with a position in it at the close."""
    open_position: float
    """Units held at the end."""
    benchmark_return: float | None
    """``last close / first close - 1``; None for one that has no bar yet."""


def symbol_statistics(
    symbols: Sequence[str], position: Floats, fills: Rows, trades: Rows, closes: Floats
) -> dict[str, SymbolStatistics]:
    """Return the figures by symbol.

    Position and closes are (symbols, bars); closes are 0 before a symbol's first bar.
    """
    return {
        name: _figures_of(
            position[place], fills[fills["symbol"] == place], trades[trades["symbol"] == place], closes[place]
        )
        for place, name in enumerate(symbols)
    }


def _figures_of(position: Floats, fills: Rows, trades: Rows, closes: Floats) -> SymbolStatistics:
    found = trade_figures(trades)
    spent = -column(fills, "quantity") * column(fills, "price")
    fees = fsum(column(fills, "commission").tolist())
    held = float(position[-1]) * float(closes[-1])
    begun = closes[closes > 0]
    return SymbolStatistics(
        fills=len(fills),
        trades=len(trades),
        win_rate=_value(found["win_rate"]),
        profit_factor=_value(found["profit_factor"]),
        profit=fsum([*spent.tolist(), held, -fees]),
        fees=fees,
        exposure=int(np.count_nonzero(position)) / len(position),
        open_position=float(position[-1]),
        benchmark_return=float(begun[-1] / begun[0]) - 1 if len(begun) else None,
    )


def _value(figure: Figure) -> float | None:
    return None if isinstance(figure, Undefined) else figure
