"""Backtests on the real stack: checkpoints where they belong, interrupted runs end as undisturbed ones."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from milepost_backtester.engine.bars import Bars
from milepost_backtester.market_data import SCHEMA
from milepost_backtester.parquet import MEDIA_TYPE, write_table
from milepost_backtester.results import RESULT_FILES
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_contracts.commands import StartOperation
from milepost_contracts.datasets import Dataset
from milepost_contracts.events import AttemptLost, Cancelled, Completed, Failed, StateSnapshot
from milepost_contracts.model import JsonObject
from milepost_contracts.verdicts import Rejected
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.clock import SystemClock
from milepost_runtime.store.datasets import DatasetCatalogue

from tests.backtester.portfolio_doubles import holed
from tests.support.bars import make_bars
from tests.support.harness import Harness, child_pid, open_harness

pytestmark = pytest.mark.integration

POLICY = CheckpointPolicySpec(every_units=10_000, min_seconds=0).model_dump(mode="json")
PARAMETERS: JsonObject = {"fast": 4, "slow": 9, "allow_short": True}


@pytest.fixture
async def harness(tenant: StackEndpoints, tmp_path: Path) -> AsyncIterator[Harness]:
    """An orchestrator and one worker for backtests."""
    async with open_harness(tenant, tmp_path) as opened:
        await opened.services.orchestrator()
        await opened.services.worker("w-1", "backtest")
        yield opened


def add_bars(harness: Harness, directory: Path, count: int) -> None:
    """Put a dataset called ``walk`` into the catalogue."""
    put_bars(harness, directory, "walk", make_bars(count))


def put_bars(harness: Harness, directory: Path, name: str, bars: Bars) -> None:
    """Put a dataset into the catalogue."""
    path = directory / f"{name}.parquet"
    write_table({name: getattr(bars, name) for name in SCHEMA.names}, SCHEMA, path)
    artifact = harness.store.put_file(path, name=path.name, media_type=MEDIA_TYPE)
    now = SystemClock().now()
    dataset = Dataset(name=name, artifact=artifact, rows=len(bars), first=now, last=now, added_at=now)
    DatasetCatalogue(harness.store).put(dataset)


def spec(name: str = "sma-cross", **parameters: int) -> JsonObject:
    return {"data": {"name": "walk"}, "strategy": {"name": name, "parameters": {**PARAMETERS, **parameters}}}


async def results(harness: Harness, operation_id: str) -> dict[str, str]:
    """Digests of the results by name."""
    completed = await harness.end(operation_id)
    assert isinstance(completed, Completed), completed
    return {artifact.name: artifact.digest for artifact in completed.artifacts}


async def saved(harness: Harness, operation_id: str) -> list[tuple[int, CheckpointReason]]:
    events = await harness.events(operation_id, StateSnapshot)
    return [(event.unit, event.reason) for event in events if isinstance(event, StateSnapshot)]


async def test_fifteen_thousand_bars_have_a_checkpoint_at_ten_thousand(
    harness: Harness, tmp_path: Path
) -> None:
    """With a checkpoint every 10 000 bars a run of 15 000 has exactly one, at bar 10 000."""
    add_bars(harness, tmp_path, 15_000)
    operation_id = await harness.start("backtest", spec(), checkpoint=POLICY)
    assert set(await results(harness, operation_id)) == set(RESULT_FILES)
    assert await saved(harness, operation_id) == [(10_000, CheckpointReason.PERIODIC)]


async def test_cancelled_at_half_goes_on_elsewhere_and_ends_the_same(
    harness: Harness, tmp_path: Path
) -> None:
    """10 000 bars stopped at 5 000, resumed on another worker with an empty disk, three times in a row: equal."""
    add_bars(harness, tmp_path, 10_000)
    expected = await results(harness, await harness.start("backtest", spec()))

    operation_id = await harness.start("backtest", spec(), stop_at_unit=5_000)
    assert isinstance(await harness.end(operation_id), Cancelled)
    assert await saved(harness, operation_id) == [(5_000, CheckpointReason.CANCELLATION)]
    await harness.services.running[-1].stop()
    await harness.services.worker("w-2", "backtest")
    for unit in (5_001, 9_999):
        operation_id = await harness.resume(operation_id, options={"stop_at_unit": unit})
        assert isinstance(await harness.end(operation_id), Cancelled)
        assert await saved(harness, operation_id) == [(unit, CheckpointReason.CANCELLATION)]
    assert await results(harness, await harness.resume(operation_id)) == expected


async def test_several_symbols_with_orders_across_the_cut_end_the_same(
    harness: Harness, tmp_path: Path
) -> None:
    """Three symbols with holes, cancelled while linked orders of several wait, resumed elsewhere: equal."""
    names = ("one", "two", "three")
    for name, bars in zip(names, holed(1, count=2_000), strict=True):
        put_bars(harness, tmp_path, name, bars)
    portfolio: JsonObject = {
        "data": [{"name": name} for name in names],
        "strategy": {"name": "bracketer", "parameters": {"every": 5}},
        "terms": {"slippage_random_rate": 0.001, "borrow_rate": 0.05, "leverage_max": 3.0},
    }
    expected = await results(harness, await harness.start("backtest", portfolio))

    operation_id = await harness.start("backtest", portfolio, stop_at_unit=1_007)
    assert isinstance(await harness.end(operation_id), Cancelled)
    (snapshot,) = await harness.events(operation_id, StateSnapshot)
    assert isinstance(snapshot, StateSnapshot)
    assert snapshot.summary["orders_waiting"] > 3
    assert len(snapshot.summary["positions"]) > 1
    await harness.services.running[-1].stop()
    await harness.services.worker("w-2", "backtest")
    assert await results(harness, await harness.resume(operation_id)) == expected


async def test_the_same_bars_under_two_names_are_refused_before_anything_starts(
    harness: Harness, tmp_path: Path
) -> None:
    """The command is rejected with both names."""
    for name in ("walk", "copy"):
        put_bars(harness, tmp_path, name, make_bars(50))
    command = StartOperation(kind="backtest", spec={"data": [{"name": "walk"}, {"name": "copy"}]})
    verdict = await harness.client.request(command)
    assert isinstance(verdict, Rejected)
    assert [problem.field for problem in verdict.problems] == ["spec.data"]
    assert "the same bars more than once: walk, copy" in verdict.problems[0].message


async def test_killed_child_costs_only_time(harness: Harness, tmp_path: Path) -> None:
    """After kill -9 of the child in the middle another attempt goes on from a checkpoint and ends the same."""
    add_bars(harness, tmp_path, 4_000)
    expected = await results(harness, await harness.start("backtest", spec()))
    policy = CheckpointPolicySpec(every_units=200, min_seconds=0).model_dump(mode="json")
    operation_id = await harness.start("backtest", spec(), checkpoint=policy, pace_units_per_second=1_000.0)
    await harness.until(operation_id, lambda event: isinstance(event, StateSnapshot) and event.unit >= 1_000)
    os.kill(child_pid(harness.services.running[-1]), signal.SIGKILL)
    assert await results(harness, operation_id) == expected
    assert len(await harness.events(operation_id, AttemptLost)) == 1


async def test_a_strategy_that_raises_fails_with_a_checkpoint_of_the_last_good_bar(
    harness: Harness, tmp_path: Path
) -> None:
    """The operation fails at bar 3 000 with the strategy's words, and its checkpoint is of 3 000 bars done."""
    add_bars(harness, tmp_path, 5_000)
    operation_id = await harness.start("backtest", spec("faulty", raise_at=3_000))
    failed = await harness.end(operation_id)
    assert isinstance(failed, Failed)
    assert "wrong line reached at bar 3000" in failed.failure.message
    assert await saved(harness, operation_id) == [(3_000, CheckpointReason.FAILURE)]
