"""Milepost's engine as an ordinary object, in Milepost's own environment: no bus, no worker."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.strategy import CompiledRule
from milepost_backtester.engine.waking import WakeWhen
from milepost_backtester.engine.wishes import Wishes
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_contracts.specs.backtest import SmaCrossParameters
from workload import CASH, FAST, RATE, SLOW, UNITS, Answer, serve, walk_columns

TIER: Any = sys.argv.pop()
"""The last argument: ``compiled``, ``wake`` or ``python``."""


class WakingCross(SmaCross):
    """The same for the wake-up tier: what it wants is looked up ahead, Python is called where that changes."""

    def __init__(self, parameters: SmaCrossParameters, bars: Bars) -> None:
        super().__init__(parameters)
        wanted = np.nan_to_num(Wishes(bars, rule_of_wishes(self)).of(0, len(bars))[0])
        changes = np.flatnonzero(wanted[1:] != wanted[:-1]) + 1
        self._when, self._wants = bars.timestamp[changes].tolist(), wanted[changes].tolist()
        self._done = 0

    def wake_when(self) -> WakeWhen:
        """At the next change."""
        last = self._done == len(self._when)
        return WakeWhen(on_change=False, at_timestamp=0 if last else self._when[self._done])

    def on_bar(self, bar: Any, broker: Any) -> None:
        """Want what follows it."""
        broker.target(self._wants[self._done])
        self._done += 1


def rule_of_wishes(strategy: SmaCross) -> CompiledRule:
    """Return the rule that says what is wanted."""
    rule = strategy.compiled_rule()
    assert isinstance(rule, CompiledRule)
    return rule


def bars_of(frame: Any) -> Bars:
    columns = {name.lower(): frame[name].to_numpy(np.float64) for name in frame.columns}
    return Bars(
        timestamp=frame.index.to_numpy("datetime64[ns]").astype(np.int64),
        **{name: np.ascontiguousarray(columns[name]) for name in ("open", "high", "low", "close", "volume")},
    )


def run(data: Any, short: bool) -> Callable[[], Answer]:
    bars = data if isinstance(data, Bars) else bars_of(data)
    parameters = SmaCrossParameters(fast=FAST, slow=SLOW, quantity=UNITS, allow_short=short)
    strategy = WakingCross(parameters, bars) if TIER == "wake" else SmaCross(parameters)
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
