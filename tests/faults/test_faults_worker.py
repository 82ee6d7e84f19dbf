"""Workers, children and orchestrators that die, and operations that end as if nothing had happened."""

import json
import os
import random
import signal
from pathlib import Path

import psutil
import pytest
from milepost_contracts.checkpoints import CheckpointReason
from milepost_contracts.events import (
    AttemptLost,
    Cancelled,
    Claimed,
    Completed,
    Failed,
    Progress,
    Released,
    Started,
    StateSnapshot,
)
from milepost_contracts.failures import FailureCode
from milepost_test_kinds.counter import expected_value

from tests.support.harness import Harness, child_pid, snapshots

pytestmark = pytest.mark.faults

ROUNDS = int(os.environ.get("MILEPOST_FAULT_ROUNDS", "2"))
# What is killed at a random unit has seconds of work left, so that a slow machine does not finish it first.
UNITS = 1500
KILLED_BEFORE = 500
PACE = 250.0
CRASH_PACE = 25.0
"""Two seconds from the checkpoint at 50 to the crash: time enough for the checkpoint to be durable."""


def value_of(completed: object) -> str:
    assert isinstance(completed, Completed), completed
    return completed.summary["value"]


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_killed_child_is_replaced_and_the_result_is_the_same(harness: Harness, seed: int) -> None:
    """After kill -9 of the computing child at a random unit the same worker finishes with the same value."""
    await harness.services.orchestrator()
    worker = await harness.services.worker()
    operation_id = await harness.start("counter", {"units": UNITS}, pace_units_per_second=PACE)
    await harness.until_unit(operation_id, random.Random(seed).randrange(20, KILLED_BEFORE))

    os.kill(child_pid(worker), signal.SIGKILL)

    assert value_of(await harness.end(operation_id)) == expected_value(UNITS)
    lost = await harness.events(operation_id, AttemptLost)
    assert [event.failure.code for event in lost] == [FailureCode.CHILD_DIED]
    assert "SIGKILL" in lost[0].failure.message


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_killed_host_is_replaced_by_another_worker(harness: Harness, seed: int) -> None:
    """After kill -9 of the host its child is gone too, and another worker with an empty disk finishes."""
    await harness.services.orchestrator()
    first = await harness.services.worker("w-1", MILEPOST_WORKER_LEASE_SECONDS="3")
    operation_id = await harness.start("counter", {"units": UNITS}, pace_units_per_second=PACE)
    await harness.until_unit(operation_id, random.Random(seed).randrange(60, KILLED_BEFORE))
    children = psutil.Process(first.pid).children()
    await harness.services.worker("w-2", MILEPOST_WORKER_LEASE_SECONDS="3")

    await first.kill()

    assert psutil.wait_procs(children, timeout=10)[1] == [], "a child outlived its host"
    assert value_of(await harness.end(operation_id)) == expected_value(UNITS)
    claims = await harness.events(operation_id, Claimed)
    assert [claim.worker_id for claim in claims] == ["w-1", "w-2"]
    started = await harness.events(operation_id, Started)
    assert started[1].unit > 0, "the second attempt went on from a checkpoint"


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_killed_orchestrator_changes_nothing(harness: Harness, seed: int) -> None:
    """A run goes on while no orchestrator lives, and every checkpoint is on record after the next one started."""
    orchestrator = await harness.services.orchestrator()
    await harness.services.worker()
    operation_id = await harness.start("counter", {"units": UNITS}, pace_units_per_second=PACE)
    await harness.until_unit(operation_id, random.Random(seed).randrange(20, KILLED_BEFORE))

    await orchestrator.kill()

    assert value_of(await harness.end(operation_id)) == expected_value(UNITS)
    await harness.services.orchestrator("o-2")
    saved = {snapshot.checkpoint_id for snapshot in await harness.events(operation_id, StateSnapshot)}
    recorded: set[str] = set()

    def all_recorded(event: object) -> bool:
        if type(event).__name__ == "CheckpointRecorded":
            recorded.add(event.checkpoint_id)
        return recorded == saved

    await harness.until(operation_id, all_recorded)
    claims = await harness.events(operation_id, Claimed)
    assert len(claims) == 1, "the worker needed no orchestrator to go on"


async def test_lease_outlives_native_code(harness: Harness) -> None:
    """A child that holds the interpreter in native code for three leases keeps its operation."""
    await harness.services.orchestrator()
    await harness.services.worker("w-1", MILEPOST_WORKER_LEASE_SECONDS="2")
    await harness.services.worker("w-2", MILEPOST_WORKER_LEASE_SECONDS="2")
    spec = {"units": 100, "at": 50, "does": "native", "seconds": 6.0}
    operation_id = await harness.start("counter", spec)

    assert value_of(await harness.end(operation_id)) == expected_value(100)
    assert len(await harness.events(operation_id, Claimed)) == 1


async def test_two_workers_share_the_work(harness: Harness) -> None:
    """Four paced operations on two workers run two at a time, on both."""
    await harness.services.orchestrator()
    await harness.services.worker("w-1")
    await harness.services.worker("w-2")
    operations = [
        await harness.start("counter", {"units": 200}, pace_units_per_second=PACE) for _ in range(4)
    ]

    for operation_id in operations:
        assert value_of(await harness.end(operation_id)) == expected_value(200)
    owners = [(await harness.events(operation_id, Claimed))[0].worker_id for operation_id in operations]
    assert set(owners) == {"w-1", "w-2"}


async def test_terminated_worker_releases_without_losing_a_unit(harness: Harness) -> None:
    """SIGTERM saves a checkpoint of the last unit, exits with 0, and the next worker goes on exactly there."""
    await harness.services.orchestrator()
    first = await harness.services.worker("w-1")
    operation_id = await harness.start("counter", {"units": UNITS}, pace_units_per_second=PACE)
    await harness.until_unit(operation_id, 120)

    assert await first.stop() == 0
    await harness.services.worker("w-2")

    assert value_of(await harness.end(operation_id)) == expected_value(UNITS)
    (released,) = await harness.events(operation_id, Released)
    saved = snapshots(await harness.events(operation_id, StateSnapshot))
    shutdown = [snapshot for snapshot in saved if snapshot.reason is CheckpointReason.SHUTDOWN]
    assert [(s.checkpoint_id, s.unit) for s in shutdown] == [(released.checkpoint_id, released.unit)]
    assert (await harness.events(operation_id, Started))[1].unit == released.unit


@pytest.mark.parametrize(("does", "words"), [("abort", "SIGABRT"), ("exit", "exit code 7")])
async def test_crash_that_repeats_fails_with_its_history(harness: Harness, does: str, words: str) -> None:
    """A child that always dies at the same unit ends as failed after max_attempts, saying how it died."""
    await harness.services.orchestrator()
    await harness.services.worker()
    spec = {"units": 120, "at": 100, "does": does}
    operation_id = await harness.start("counter", spec, max_attempts=2, pace_units_per_second=CRASH_PACE)

    failed = await harness.end(operation_id)

    assert isinstance(failed, Failed)
    assert failed.failure.code is FailureCode.ATTEMPTS_EXHAUSTED
    assert words in failed.failure.message
    assert failed.checkpoint_id is not None
    assert len(await harness.events(operation_id, AttemptLost)) == 2


async def test_crash_that_happens_once_is_survived(harness: Harness, tmp_path: Path) -> None:
    """A native crash that does not repeat costs an attempt and nothing else."""
    await harness.services.orchestrator()
    await harness.services.worker()
    spec = {"units": 120, "at": 99, "does": "abort", "once": str(tmp_path / "once")}
    operation_id = await harness.start("counter", spec, pace_units_per_second=CRASH_PACE)

    assert value_of(await harness.end(operation_id)) == expected_value(120)
    assert (await harness.events(operation_id, Started))[1].unit == 50


async def test_exception_fails_with_a_checkpoint_of_the_last_good_unit(
    harness: Harness, tmp_path: Path
) -> None:
    """An error of the job ends the operation with its message and traceback; it can be resumed from there."""
    await harness.services.orchestrator()
    await harness.services.worker()
    spec = {"units": 100, "at": 73, "does": "raise", "once": str(tmp_path / "once")}
    operation_id = await harness.start("counter", spec)

    failed = await harness.end(operation_id)

    assert isinstance(failed, Failed)
    assert failed.failure.message == "stumbled at unit 73"
    assert "_stumble" in (failed.failure.traceback_tail or "")
    saved = snapshots(await harness.events(operation_id, StateSnapshot))
    assert (saved[-1].unit, saved[-1].reason) == (73, CheckpointReason.FAILURE)
    child_id = await harness.resume(operation_id)
    assert value_of(await harness.end(child_id)) == expected_value(100)
    assert (await harness.events(child_id, Started))[0].unit == 73


@pytest.mark.parametrize("at_unit", [0, 1, 7, 50, 51])
async def test_cancel_at_an_early_unit_is_exact(harness: Harness, at_unit: int) -> None:
    """Stopping after unit 0, 1, ... saves a checkpoint of just that unit, and the resume ends the same."""
    await harness.services.orchestrator()
    await harness.services.worker()
    operation_id = await harness.start("counter", {"units": 120}, stop_at_unit=at_unit)

    cancelled = await harness.end(operation_id)

    assert isinstance(cancelled, Cancelled)
    assert cancelled.unit == at_unit
    saved = snapshots(await harness.events(operation_id, StateSnapshot))
    assert (saved[-1].unit, saved[-1].reason) == (at_unit, CheckpointReason.CANCELLATION)
    child_id = await harness.resume(operation_id)
    assert value_of(await harness.end(child_id)) == expected_value(120)
    assert (await harness.events(child_id, Started))[0].unit == at_unit


async def test_damaged_checkpoint_gives_way_to_the_one_before(harness: Harness) -> None:
    """When the newest checkpoint's bytes are gone, the next attempt goes on from the one before it."""
    await harness.services.orchestrator()
    worker = await harness.services.worker()
    operation_id = await harness.start("counter", {"units": UNITS}, pace_units_per_second=PACE)
    await harness.until(operation_id, lambda event: isinstance(event, StateSnapshot) and event.unit >= 150)
    os.kill(child_pid(worker), signal.SIGSTOP)
    newest = snapshots(await harness.events(operation_id, StateSnapshot))[-1]
    for artifact in newest.artifacts:
        harness.store.delete_artifact(artifact.digest)

    os.kill(child_pid(worker), signal.SIGKILL)

    assert value_of(await harness.end(operation_id)) == expected_value(UNITS)
    # The host may have published one more that the child had staged before it was stopped.
    saved = snapshots(await harness.events(operation_id, StateSnapshot))
    whole = [s.unit for s in saved if s.attempt == 1 and s.checkpoint_id != newest.checkpoint_id]
    assert (await harness.events(operation_id, Started))[1].unit == whole[-1]


async def test_other_code_version_is_refused_by_name(harness: Harness) -> None:
    """A checkpoint of another code version is not resumed; the failure says which versions differ."""
    await harness.services.orchestrator()
    first = await harness.services.worker("w-1", MILEPOST_TEST_COUNTER_VERSION="1")
    operation_id = await harness.start("counter", {"units": 100}, stop_at_unit=50)
    await harness.end(operation_id)
    await first.stop()
    await harness.services.worker("w-2", MILEPOST_TEST_COUNTER_VERSION="2")

    failed = await harness.end(await harness.resume(operation_id))

    assert isinstance(failed, Failed)
    assert failed.failure.code is FailureCode.FINGERPRINT_MISMATCH
    assert "counter" in failed.failure.message


async def test_another_environment_is_refused_until_it_is_accepted(harness: Harness) -> None:
    """The refusal says how to accept; accepted, the run goes on and its start names what is other."""
    await harness.services.orchestrator()
    first = await harness.services.worker("w-1")
    operation_id = await harness.start("counter", {"units": 100}, stop_at_unit=50)
    await harness.end(operation_id)
    await first.stop()
    await harness.services.worker("w-2", MILEPOST_TEST_ABACUS_VERSION="2")

    refused_id = await harness.resume(operation_id)
    refused = await harness.end(refused_id)
    assert isinstance(refused, Failed)
    assert refused.failure.code is FailureCode.FINGERPRINT_MISMATCH
    assert "abacus was '1' and is '2'" in refused.failure.message
    assert "--accept-environment" in str(refused.failure.fix)

    accepted_id = await harness.resume(refused_id, options={"accept_environment": True, "stop_at_unit": 70})
    assert isinstance(await harness.end(accepted_id), Cancelled)
    (started,) = await harness.events(accepted_id, Started)
    assert (started.unit, started.environment_differences) == (50, ("abacus was '1' and is '2'",))

    # What goes on from there has the new environment from the beginning: nothing is left to accept.
    last_id = await harness.resume(accepted_id)
    assert value_of(await harness.end(last_id)) == expected_value(100)
    (last,) = await harness.events(last_id, Started)
    assert (last.unit, last.environment_differences) == (70, ())


async def test_results_are_artifacts_with_their_names(harness: Harness, tmp_path: Path) -> None:
    """The completed event names the result files; their bytes are in the store and verified."""
    await harness.services.orchestrator()
    await harness.services.worker()
    operation_id = await harness.start("counter", {"units": 10})

    completed = await harness.end(operation_id)

    assert isinstance(completed, Completed)
    (reference,) = completed.artifacts
    harness.store.get_file(reference, tmp_path / reference.name)
    assert json.loads((tmp_path / "value.json").read_text())["value"] == expected_value(10)
    last_progress = (await harness.events(operation_id, Progress))[-1]
    assert last_progress.unit == 10, "the last progress is never dropped"
