"""Milepost's sweep as an ordinary object: no bus, no worker; every combination has all figures of a backtest."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.terms import Terms
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_backtester.sweep.engine import SweepEngine
from milepost_backtester.sweep.plan import Plan, whole
from milepost_backtester.sweep.trials import Trials
from milepost_contracts.specs.backtest import SmaCrossParameters
from milepost_runtime.clock import SystemClock
from sweep_workload import PAIRS, Swept, serve_sweep
from workload import CASH, RATE, UNITS, walk_columns


def make(parameters: Mapping[str, Any], window: Bars) -> SmaCross:
    return SmaCross(SmaCrossParameters.model_validate(parameters))


def run(bars: Bars) -> Callable[[], Swept]:
    combinations = [{"fast": fast, "slow": slow, "quantity": float(UNITS)} for fast, slow in PAIRS]
    plan = Plan(combinations, whole(len(bars)), walks=False)
    terms = Terms(commission_rate=RATE)
    trials = Trials(bars, make, initial_cash=CASH, terms=terms, tier="compiled", clock=SystemClock())
    threads = len(os.sched_getaffinity(0))
    with SweepEngine(
        plan, trials, initial_cash=CASH, rank_by="sharpe", direction="highest", threads=threads
    ) as engine:
        while engine.unit < engine.total_units:
            engine.step()
    return lambda: swept(engine)


def swept(engine: SweepEngine) -> Swept:
    names = ("final_equity", "sharpe", "max_drawdown")
    return Swept(*(engine.combinations.figure(name, 0, engine.unit).tolist() for name in names))


if __name__ == "__main__":
    serve_sweep(run, lambda bars: Bars(**walk_columns(bars)))
