"""Milepost's engine as an ordinary object, in Milepost's own environment: no bus, no worker."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_contracts.specs.backtest import SmaCrossParameters
from workload import CASH, FAST, RATE, SLOW, UNITS, Answer, serve, walk_columns

TIER: Any = sys.argv.pop()
"""The last argument: ``compiled`` or ``python``."""


def bars_of(frame: Any) -> Bars:
    columns = {name.lower(): frame[name].to_numpy(np.float64) for name in frame.columns}
    return Bars(
        timestamp=frame.index.to_numpy("datetime64[ns]").astype(np.int64),
        **{name: np.ascontiguousarray(columns[name]) for name in ("open", "high", "low", "close", "volume")},
    )


def run(data: Any, short: bool) -> Callable[[], Answer]:
    bars = data if isinstance(data, Bars) else bars_of(data)
    strategy = SmaCross(SmaCrossParameters(fast=FAST, slow=SLOW, quantity=UNITS, allow_short=short))
    engine = BacktestingEngine(bars, strategy, initial_cash=CASH, commission_rate=RATE, tier=TIER)
    engine.advance()
    return lambda: answer(engine)


def answer(engine: BacktestingEngine) -> Answer:
    trades = [
        (trade.entry_bar, trade.exit_bar, trade.quantity, trade.entry_price, trade.exit_price, trade.pnl)
        for trade in engine.trades
    ]
    equity = engine.equity
    return Answer(float(equity[-1]), trades, equity.tolist())


if __name__ == "__main__":
    serve(run, prepare=lambda bars: Bars(**walk_columns(bars)))
