"""What the sweep tests share: jobs over one dataset, engines, digests of what a sweep leaves."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_backtester.engine.terms import Terms
from milepost_backtester.market_data import SCHEMA
from milepost_backtester.parquet import write_table
from milepost_backtester.strategies.sma_cross import SmaCross
from milepost_backtester.sweep.engine import SweepEngine
from milepost_backtester.sweep.job import SweepJob, create_sweep_job
from milepost_backtester.sweep.plan import Plan, whole
from milepost_backtester.sweep.trials import Trials
from milepost_contracts.specs.strategies import SmaCrossParameters
from milepost_runtime.digests import digest_of_file
from milepost_runtime.worker.kind import JobContext

from tests.support.bars import make_bars
from tests.support.bridge import ManualClock, SpoolSink

GRID = {"fast": [3, 5, 8], "slow": {"from": 8, "to": 20, "step": 6}}
"""Eight possible combinations of nine."""
COMBINATIONS = 8
WALK = {"train_bars": 600, "test_bars": 200}
FOLDS = 3
BARS = 1_200


class Workplace:
    """Makes jobs over one dataset and keeps what they leave."""

    def __init__(self, directory: Path, bars: int = BARS) -> None:
        self.directory = directory
        self.data = directory / "bars.parquet"
        self.bars = make_bars(bars, 3)
        write_table({name: getattr(self.bars, name) for name in SCHEMA.names}, SCHEMA, self.data)
        self.digest = digest_of_file(self.data)
        self._made = 0

    def job(self, *, threads: int = 1, strategy: str = "sma-cross", **spec: Any) -> SweepJob:
        content = {
            "data": {"name": "test", "digest": self.digest},
            "strategy": {"name": strategy, "parameters": {"quantity": 10.0, "allow_short": True}},
            "grid": GRID,
            **spec,
        }
        context = JobContext("op-1", content, {self.digest: self.data}, self.directory)
        return create_sweep_job(context, threads=threads, clock=ManualClock())

    def sink(self, *earlier: SpoolSink) -> SpoolSink:
        sink = SpoolSink(self._fresh("sink"))
        for other in earlier:
            sink.take_artifacts(other)
        return sink

    def results(self, job: SweepJob) -> dict[str, str]:
        """Digests of the result files."""
        directory = self.results_directory(job)
        return {path.name: digest_of_file(path) for path in directory.iterdir()}

    def results_directory(self, job: SweepJob) -> Path:
        directory = self._fresh("results")
        directory.mkdir()
        files = job.write_results(directory).files
        assert set(files) == {path.name for path in directory.iterdir()}
        return directory

    def _fresh(self, word: str) -> Path:
        self._made += 1
        return self.directory / f"{word}-{self._made}"


def parameters_of(count: int = 4) -> list[dict[str, Any]]:
    return [
        {"fast": fast, "slow": 9 + fast, "quantity": 10.0, "allow_short": True}
        for fast in range(2, 2 + count)
    ]


def sma(parameters: Mapping[str, Any], bars: Bars | None = None) -> SmaCross:
    return SmaCross(SmaCrossParameters.model_validate(parameters))


def trials_of(
    bars: Bars,
    make: Callable[[Mapping[str, Any], Bars], Any] = sma,
    *,
    tier: Any = "compiled",
    terms: Terms | None = None,
    initial_cash: float = 50_000.0,
    clock: ManualClock | None = None,
) -> Trials:
    return Trials(
        bars,
        make,
        initial_cash=initial_cash,
        terms=terms or Terms(commission_rate=0.001),
        tier=tier,
        clock=clock or ManualClock(),
    )


def engine_of(trials: Trials, plan: Plan | None = None, *, threads: int = 1, **options: Any) -> SweepEngine:
    plan = plan or Plan(parameters_of(), whole(len(trials.bars)), walks=False)
    asked = {"initial_cash": 50_000.0, "rank_by": "total_return", "direction": "highest", **options}
    return SweepEngine(plan, trials, threads=threads, **asked)


def finished(engine: SweepEngine, stop_asked: Callable[[], bool] = lambda: False) -> SweepEngine:
    with engine:
        while engine.unit < engine.total_units:
            engine.step(stop_asked)
    return engine


def content_of(engine: SweepEngine) -> tuple[Any, ...]:
    """Everything that a sweep leaves, in a form that tells every bit."""
    logs = engine.forward.logs
    tables = (engine.combinations, engine.forward.figures)
    rows = [repr(table.statistics(row)) for table in tables for row in range(len(table))]
    arrays = (logs.equity, logs.cash, logs.position, logs.fills, logs.trades)
    return (*rows, tuple(engine.forward.chosen), *(np.ascontiguousarray(array).tobytes() for array in arrays))


def single(
    bars: Bars, strategy: Any, tier: Any, terms: Terms, initial_cash: float = 50_000.0
) -> BacktestingEngine:
    engine = BacktestingEngine(bars, strategy, initial_cash=initial_cash, terms=terms, tier=tier)
    engine.advance()
    return engine
