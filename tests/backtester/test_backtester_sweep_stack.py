"""Sweeps on the real stack: cancelled and resumed elsewhere, or killed, they leave what undisturbed ones leave."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from milepost_backtester.sweep.results import FORWARD_FILES, SWEEP_FILES
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_contracts.commands import StartOperation
from milepost_contracts.events import Cancelled, Started, StateSnapshot
from milepost_contracts.model import JsonObject
from milepost_contracts.verdicts import Rejected
from milepost_infra.endpoints import StackEndpoints

from tests.backtester.portfolio_doubles import holed
from tests.backtester.test_backtester_stack import add_bars, put_bars, results, saved
from tests.support.harness import Harness, open_harness

pytestmark = pytest.mark.integration

GRID: JsonObject = {"fast": {"from": 2, "to": 12, "step": 2}, "slow": [8, 16, 24, 32]}
COMBINATIONS = 21
LEASE = {"MILEPOST_WORKER_LEASE_SECONDS": "3"}
OFTEN = CheckpointPolicySpec(every_units=3, min_seconds=0).model_dump(mode="json")


@pytest.fixture
async def harness(tenant: StackEndpoints, tmp_path: Path) -> AsyncIterator[Harness]:
    """An orchestrator and one worker for sweeps."""
    async with open_harness(tenant, tmp_path) as opened:
        await opened.services.orchestrator()
        await opened.services.worker("w-1", "sweep", **LEASE)
        yield opened


def spec(**fields: object) -> JsonObject:
    strategy: JsonObject = {"name": "sma-cross", "parameters": {"allow_short": True}}
    return {"data": {"name": "walk"}, "strategy": strategy, "grid": GRID, **fields}


async def test_cancelled_and_resumed_on_another_worker_ends_the_same(
    harness: Harness, tmp_path: Path
) -> None:
    """Stopped at 9, resumed on a worker with an empty disk, stopped again and resumed: equal digests."""
    add_bars(harness, tmp_path, 5_000)
    expected = await results(harness, await harness.start("sweep", spec()))
    assert set(expected) >= set(SWEEP_FILES)

    operation_id = await harness.start("sweep", spec(), stop_at_unit=9)
    cancelled = await harness.end(operation_id)
    assert isinstance(cancelled, Cancelled)
    assert await saved(harness, operation_id) == [(9, CheckpointReason.CANCELLATION)]
    await harness.services.running[-1].stop()
    await harness.services.worker("w-2", "sweep", **LEASE)
    operation_id = await harness.resume(operation_id, options={"stop_at_unit": 20})
    assert isinstance(await harness.end(operation_id), Cancelled)
    operation_id = await harness.resume(operation_id)
    assert await results(harness, operation_id) == expected
    (started,) = await harness.events(operation_id, Started)
    assert isinstance(started, Started)
    assert (started.unit, started.total_units, started.unit_name) == (20, COMBINATIONS, "combination")


async def test_several_symbols_cancelled_and_resumed_elsewhere_end_the_same(
    harness: Harness, tmp_path: Path
) -> None:
    """Three symbols with holes, sized by the equity of all, stopped at 4, resumed elsewhere: equal digests."""
    names = ("one", "two", "three")
    for name, bars in zip(names, holed(1, count=1_500), strict=True):
        put_bars(harness, tmp_path, name, bars)
    several = spec(
        data=[{"name": name} for name in names],
        strategy={
            "name": "sma-cross",
            "parameters": {"allow_short": True, "sizing": "equity", "quantity": 0.5},
        },
        grid={"fast": [2, 4, 6], "slow": [9, 12, 20]},
        terms={"slippage_random_rate": 0.001, "borrow_rate": 0.05, "leverage_max": 3.0},
    )
    expected = await results(harness, await harness.start("sweep", several))
    assert set(expected) >= set(SWEEP_FILES)

    operation_id = await harness.start("sweep", several, stop_at_unit=4)
    assert isinstance(await harness.end(operation_id), Cancelled)
    assert await saved(harness, operation_id) == [(4, CheckpointReason.CANCELLATION)]
    await harness.services.running[-1].stop()
    await harness.services.worker("w-2", "sweep", **LEASE)
    operation_id = await harness.resume(operation_id)
    assert await results(harness, operation_id) == expected
    (started,) = await harness.events(operation_id, Started)
    assert isinstance(started, Started)
    assert (started.unit, started.total_units) == (4, 9)


@pytest.mark.long
async def test_a_killed_worker_costs_only_time(harness: Harness, tmp_path: Path) -> None:
    """After kill -9 of the worker amid a walk with a team's strategy another one goes on and ends the same."""
    add_bars(harness, tmp_path, 3_000)
    walk = spec(
        strategy={"name": "faulty", "parameters": {"allow_short": True, "raise_at": 1_000_000}},
        grid={"fast": [2, 3, 4], "slow": [9, 12]},
        walk_forward={"train_bars": 1_000, "test_bars": 500},
    )
    expected = await results(harness, await harness.start("sweep", walk))
    assert set(expected) >= {*SWEEP_FILES, *FORWARD_FILES}
    operation_id = await harness.start("sweep", walk, checkpoint=OFTEN, pace_units_per_second=4.0)
    # What matters is that there is a checkpoint to go on from, however long the disk takes for it.
    await harness.until(operation_id, lambda event: isinstance(event, StateSnapshot))
    await harness.services.running[-1].kill()
    await harness.services.worker("w-2", "sweep", **LEASE)
    assert await results(harness, operation_id) == expected
    started = await harness.events(operation_id, Started)
    assert len(started) == 2
    assert isinstance(started[-1], Started)
    assert started[-1].unit >= 3


async def test_a_sweep_without_a_possible_combination_never_starts(harness: Harness, tmp_path: Path) -> None:
    """The command is refused with the reason, and nothing is started."""
    add_bars(harness, tmp_path, 100)
    command = StartOperation(kind="sweep", spec=spec(grid={"fast": [9], "slow": [3]}))
    verdict = await harness.client.request(command)
    assert isinstance(verdict, Rejected)
    assert {problem.field for problem in verdict.problems} == {"spec.grid", "spec.grid.slow"}
