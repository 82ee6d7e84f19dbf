"""Sweeps over several symbols: each combination is a backtest of the same portfolio, bit for bit."""

import json
from pathlib import Path
from typing import Any

import pytest
from milepost_backtester.sweep.job import SweepJob, create_sweep_job
from milepost_backtester.worker import BacktestKind
from milepost_runtime.digests import digest_of_file
from milepost_runtime.worker.kind import JobContext

from tests.backtester.job_doubles import cancel_after
from tests.backtester.test_backtester_portfolio_job import Portfolio
from tests.support.bridge import ManualClock, host_of

pytestmark = pytest.mark.unit

GRIDS: dict[str, dict[str, Any]] = {
    "sma-cross": {"fast": [3, 5], "slow": [8, 21]},
    "rotation": {"lookback": [10, 30], "hold": [1, 2]},
    "bracketer": {"every": [5, 9]},
}


@pytest.fixture
def place(tmp_path: Path) -> Portfolio:
    return Portfolio(tmp_path)


def sweep_of(place: Portfolio, strategy: str, **spec: Any) -> SweepJob:
    content = {
        "data": place.references,
        "strategy": {"name": strategy},
        "terms": {"leverage_max": 3.0, "borrow_rate": 0.05},
        "rank_by": "total_return",
        "grid": GRIDS[strategy],
        **spec,
    }
    context = JobContext("op-1", content, place.inputs, place.directory)
    return create_sweep_job(context, threads=2, clock=ManualClock())


def results(place: Portfolio, job: SweepJob) -> dict[str, str]:
    directory = place.new("results")
    return {name: digest_of_file(directory / name) for name in job.write_results(directory).files}


@pytest.mark.parametrize("strategy", GRIDS)
def test_every_combination_equals_a_backtest_of_the_portfolio(place: Portfolio, strategy: str) -> None:
    """Rules applied to each symbol and strategies of all symbols have the figures of single backtests."""
    job = sweep_of(place, strategy)
    assert job.run(host_of(place.sink(), job.total_units)) is True
    directory = place.new("results")
    job.write_results(directory)
    best = json.loads((directory / "best.json").read_bytes())
    traded = 0
    for row, parameters in enumerate(job._engine.plan.combinations):
        spec = {**best["spec"], "strategy": {"name": strategy, "parameters": dict(parameters)}}
        alone = BacktestKind().create_job(JobContext("op-2", spec, place.inputs, place.directory))
        assert alone.run(host_of(place.sink(), alone.total_units)) is True
        found = place.new("alone")
        alone.write_results(found)
        expected = json.loads((found / "statistics.json").read_bytes())
        del expected["symbols"]
        assert json.loads(json.dumps(job._engine.combinations.statistics(row))) == expected
        traded += expected["fills"]
    assert traded > 0


@pytest.mark.parametrize("strategy", ["sma-cross", "rotation"])
def test_cancelled_and_resumed_ends_as_undisturbed(place: Portfolio, strategy: str) -> None:
    """A sweep of three symbols that is cancelled and resumed leaves the same files."""
    undisturbed = sweep_of(place, strategy)
    assert undisturbed.run(host_of(place.sink(), undisturbed.total_units)) is True
    job, sink = sweep_of(place, strategy), place.sink()
    assert job.run(host_of(sink, job.total_units, token=cancel_after(2))) is False
    resumed = sweep_of(place, strategy)
    resumed.restore_from_checkpoint(sink.checkpoints[-1])
    later = place.sink()
    later.take_artifacts(sink)
    assert resumed.run(host_of(later, resumed.total_units)) is True
    assert results(place, resumed) == results(place, undisturbed)


def test_a_strategy_of_all_symbols_does_not_walk(place: Portfolio) -> None:
    """Walking forward takes a strategy of one symbol, and the refusal says so."""
    with pytest.raises(ValueError, match=r"spec\.walk_forward: a walk takes a strategy of one symbol"):
        sweep_of(place, "rotation", data=place.references[0], walk_forward={"test_bars": 100})
