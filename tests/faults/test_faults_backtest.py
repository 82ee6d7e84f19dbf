"""Backtests whose workers, children and orchestrators are killed end with the digests of undisturbed ones."""

import os
import random
import signal
from pathlib import Path

import pytest
from milepost_contracts.events import Cancelled, Claimed, Completed, Event, Started, StateSnapshot

from tests.support.bars import add_dataset, backtest_spec
from tests.support.harness import Harness, child_pid, snapshots
from tests.support.services import Service

pytestmark = pytest.mark.faults

ROUNDS = int(os.environ.get("MILEPOST_FAULT_ROUNDS", "2"))
BARS = 10_000
PACE = 2_000.0
OFTEN = {"every_units": 1_000, "min_seconds": 0.0}
LEASE = {"MILEPOST_WORKER_LEASE_SECONDS": "3"}


def digests(event: Event) -> dict[str, str]:
    """Result files by name; a run that did not complete has none to compare."""
    assert isinstance(event, Completed), event
    return {artifact.name: artifact.digest for artifact in event.artifacts}


async def start_backtest(harness: Harness, **options: object) -> str:
    return await harness.start("backtest", backtest_spec(), checkpoint=OFTEN, **options)


async def undisturbed(harness: Harness, directory: Path, rows: int = BARS) -> dict[str, str]:
    """Add the data and return the digests of a run that nothing happens to."""
    add_dataset(harness.store, directory, rows)
    return digests(await harness.end(await start_backtest(harness)))


async def owner_of(harness: Harness, operation_id: str) -> Service:
    claims = await harness.events(operation_id, Claimed)
    return next(service for service in harness.services.running if service.name == claims[-1].worker_id)


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_any_chain_of_kills_ends_equal(harness: Harness, tmp_path: Path, seed: int) -> None:
    """kill -9 of child, host and orchestrator, one after the other at random bars, changes no digest."""
    rng = random.Random(seed)
    orchestrator = await harness.services.orchestrator()
    await harness.services.worker("w-1", "backtest", **LEASE)
    expected = await undisturbed(harness, tmp_path, rows=2 * BARS)
    operation_id = await start_backtest(harness, pace_units_per_second=PACE)

    await harness.until_unit(operation_id, rng.randrange(1_000, 3_000))
    await harness.until(operation_id, lambda event: isinstance(event, StateSnapshot))
    os.kill(child_pid(await owner_of(harness, operation_id)), signal.SIGKILL)
    await harness.until_unit(operation_id, rng.randrange(3_500, 5_000))
    await orchestrator.kill()
    await harness.until_unit(operation_id, rng.randrange(5_500, 7_500))
    await harness.services.worker("w-2", "backtest", **LEASE)
    await (await owner_of(harness, operation_id)).kill()

    assert digests(await harness.end(operation_id)) == expected
    started = await harness.events(operation_id, Started)
    assert [event.unit > 0 for event in started] == [False, True, True]


async def test_cancel_at_half_and_resume_elsewhere(harness: Harness, tmp_path: Path) -> None:
    """G2: 10 000 bars cancelled at 5 000 go on at 5 000 on another worker, equal to the uninterrupted run."""
    await harness.services.orchestrator()
    first = await harness.services.worker("w-1", "backtest")
    expected = await undisturbed(harness, tmp_path)
    operation_id = await start_backtest(harness, pace_units_per_second=PACE)
    await harness.cancel(operation_id, at_unit=5_000)

    cancelled = await harness.end(operation_id)
    assert isinstance(cancelled, Cancelled)
    assert cancelled.unit == 5_000
    await first.stop()
    await harness.services.worker("w-2", "backtest")
    child_id = await harness.resume(operation_id)

    assert digests(await harness.end(child_id)) == expected
    (started,) = await harness.events(child_id, Started)
    assert (started.unit, started.checkpoint_id) == (5_000, cancelled.checkpoint_id)


async def test_three_resumes_in_a_row_end_equal(harness: Harness, tmp_path: Path) -> None:
    """Stopped at 1, at 4 321 and at 9 999 bars, and resumed each time: the same digests."""
    await harness.services.orchestrator()
    await harness.services.worker("w-1", "backtest")
    expected = await undisturbed(harness, tmp_path)

    operation_id = await start_backtest(harness, stop_at_unit=1)
    await harness.end(operation_id)
    for at_unit in (4_321, 9_999):
        operation_id = await harness.resume(
            operation_id, options={"stop_at_unit": at_unit, "checkpoint": OFTEN}
        )
        cancelled = await harness.end(operation_id)
        assert isinstance(cancelled, Cancelled)
        assert cancelled.unit == at_unit
    assert digests(await harness.end(await harness.resume(operation_id))) == expected


async def test_resume_from_an_older_checkpoint_ends_equal(harness: Harness, tmp_path: Path) -> None:
    """D4: any kept checkpoint will do, not only the newest."""
    await harness.services.orchestrator()
    await harness.services.worker("w-1", "backtest")
    expected = await undisturbed(harness, tmp_path)
    # A pace lets every periodic checkpoint find the one before it committed.
    operation_id = await start_backtest(harness, stop_at_unit=5_500, pace_units_per_second=1_500)
    await harness.end(operation_id)
    saved = snapshots(await harness.events(operation_id, StateSnapshot))
    older = saved[1]
    assert older.unit < saved[-1].unit

    child_id = await harness.resume(operation_id, checkpoint_id=older.checkpoint_id)

    assert digests(await harness.end(child_id)) == expected
    assert (await harness.events(child_id, Started))[0].unit == older.unit


async def test_checkpoint_at_bar_ten_thousand_of_fifteen(harness: Harness, tmp_path: Path) -> None:
    """C6: 15 000 bars with a checkpoint every 10 000 have exactly one, at bar 10 000."""
    await harness.services.orchestrator()
    await harness.services.worker("w-1", "backtest")
    add_dataset(harness.store, tmp_path, 15_000)
    policy = {"every_units": 10_000, "min_seconds": 0.0}

    operation_id = await harness.start("backtest", backtest_spec(), checkpoint=policy)

    assert isinstance(await harness.end(operation_id), Completed)
    assert [s.unit for s in snapshots(await harness.events(operation_id, StateSnapshot))] == [10_000]
