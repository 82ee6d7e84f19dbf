"""Trainings on the real stack: interrupted runs end as undisturbed ones, failures say what happened."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_contracts.events import AttemptLost, Cancelled, Completed, Failed, Started, StateSnapshot
from milepost_contracts.model import JsonObject
from milepost_infra.endpoints import StackEndpoints
from milepost_trainer.results import RESULT_FILES

from tests.support.bars import add_dataset
from tests.support.harness import Harness, child_pid, open_harness
from tests.trainer.trainer_doubles import small_spec

pytestmark = pytest.mark.integration

EVERY_TWO = CheckpointPolicySpec(every_units=2, min_seconds=0).model_dump(mode="json")


@pytest.fixture
async def harness(tenant: StackEndpoints, tmp_path: Path) -> AsyncIterator[Harness]:
    """An orchestrator, one worker for trainings and a dataset."""
    async with open_harness(tenant, tmp_path) as opened:
        add_dataset(opened.store, tmp_path, 400)
        await opened.services.orchestrator()
        await opened.services.worker("w-1", "training")
        yield opened


def spec(epochs: int = 20, **fields: object) -> JsonObject:
    return {"data": {"name": "walk"}, **small_spec(epochs=epochs, **fields)}


async def results(harness: Harness, operation_id: str) -> dict[str, str]:
    """Digests of weights, history and metrics by name."""
    completed = await harness.end(operation_id)
    assert isinstance(completed, Completed), completed
    return {artifact.name: artifact.digest for artifact in completed.artifacts}


async def saved(harness: Harness, operation_id: str) -> list[tuple[int, CheckpointReason]]:
    events = await harness.events(operation_id, StateSnapshot)
    return [(event.unit, event.reason) for event in events if isinstance(event, StateSnapshot)]


@pytest.mark.long
async def test_cancelled_at_thirty_of_a_hundred_goes_on_elsewhere_and_ends_the_same(harness: Harness) -> None:
    """G1: 100 epochs stopped at 30 go on at 30 on another worker with an empty disk: the same five files."""
    expected = await results(harness, await harness.start("training", spec(epochs=100)))
    assert set(expected) == set(RESULT_FILES)

    operation_id = await harness.start("training", spec(epochs=100), stop_at_unit=30)
    assert isinstance(await harness.end(operation_id), Cancelled)
    assert (await saved(harness, operation_id))[-1] == (30, CheckpointReason.CANCELLATION)
    await harness.services.running[-1].stop()
    await harness.services.worker("w-2", "training")
    resumed = await harness.resume(operation_id)
    assert await results(harness, resumed) == expected
    (started,) = await harness.events(resumed, Started)
    assert started.unit == 30
    # The default policy: every ten epochs.
    assert (40, CheckpointReason.PERIODIC) in await saved(harness, resumed)


async def test_killed_child_costs_only_time(harness: Harness) -> None:
    """After kill -9 of the child another attempt goes on from a checkpoint and ends the same."""
    expected = await results(harness, await harness.start("training", spec()))
    operation_id = await harness.start("training", spec(), checkpoint=EVERY_TWO, pace_units_per_second=4.0)
    await harness.until(operation_id, lambda event: isinstance(event, StateSnapshot) and event.unit >= 6)
    os.kill(child_pid(harness.services.running[-1]), signal.SIGKILL)
    assert await results(harness, operation_id) == expected
    assert len(await harness.events(operation_id, AttemptLost)) == 1


async def test_a_training_that_stops_early_is_complete(harness: Harness) -> None:
    """Fewer epochs than asked for, and the operation is completed with that many."""
    stopping = {"patience": 2, "minimum_improvement": 0.5}
    operation_id = await harness.start("training", spec(early_stopping=stopping))
    completed = await harness.end(operation_id)
    assert isinstance(completed, Completed)
    assert (completed.unit, completed.summary["stopped_early"]) == (3, True)


async def test_a_diverging_training_fails_with_the_last_good_unit_saved(harness: Harness) -> None:
    """The operation fails with the engine's words and a checkpoint of the last whole step."""
    optimizer = {"name": "sgd", "learning_rate": 30.0, "momentum": 0.9}
    content = spec(label="return", optimizer=optimizer, checkpoint={"unit": "step"})
    operation_id = await harness.start("training", content)
    failed = await harness.end(operation_id)
    assert isinstance(failed, Failed)
    assert "The training diverged: a value is not finite" in failed.failure.message
    assert failed.failure.error_type == "DivergedError"
    (started,) = await harness.events(operation_id, Started)
    assert started.unit_name == "step"
    snapshots = await saved(harness, operation_id)
    assert snapshots[-1][1] is CheckpointReason.FAILURE
