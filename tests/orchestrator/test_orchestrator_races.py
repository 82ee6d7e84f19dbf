"""Several orchestrators, crashes between two writes, and operations that fell between."""

import asyncio
import json
from pathlib import Path

import pytest
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.commands import CancelOperation, ResumeOperation, StartOperation
from milepost_contracts.events import AttemptLost, Cancelled, CheckpointRecorded, Requested, Resumed, Side
from milepost_contracts.failures import RejectionCode
from milepost_contracts.ids import operation_id_of
from milepost_contracts.verdicts import Accepted, Rejected
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.bus.signals import NatsSignals
from milepost_runtime.bus.work_queue import JetStreamWorkQueue
from milepost_runtime.signals import Owner
from milepost_runtime.work_queue import WorkKey

from tests.orchestrator.running import WAIT_SECONDS, Running, run_orchestrator
from tests.orchestrator.stories import (
    artifact,
    attempt_lost,
    cancel_requested,
    cancelled,
    claimed,
    failed,
    snapshot,
    started,
)

pytestmark = pytest.mark.integration


def work_of(operation_id: str) -> WorkKey:
    return WorkKey("counter", "default", operation_id)


def queue_of(running: Running, tenant: StackEndpoints) -> JetStreamWorkQueue:
    return JetStreamWorkQueue(running.orchestrator.connection, tenant.bus)


async def ended(running: Running) -> str:
    await running.keep_state()
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), started(), snapshot(), cancelled())
    await running.until(operation_id, CheckpointRecorded)  # nothing else writes to it from now on
    return operation_id


async def test_fifty_resumes_over_two_orchestrators_make_one_child(
    running: Running, tenant: StackEndpoints, tmp_path: Path
) -> None:
    """One is accepted, 49 are told which child won, over bus and HTTP alike."""
    parent_id = await ended(running)
    async with run_orchestrator(tenant, tmp_path) as second:

        async def ask(number: int) -> dict:
            if number % 5 == 0:
                http = (running, second)[number % 2].http
                return (await http.post(f"/operations/{parent_id}/resume")).json()
            verdict = await running.client.request(ResumeOperation(operation_id=parent_id))
            return verdict.model_dump(mode="json")

        answers = await asyncio.gather(*(ask(number) for number in range(50)))
    winners = [answer for answer in answers if answer.get("verdict") == "accepted"]
    refused = [answer for answer in answers if answer.get("verdict") != "accepted"]
    assert len(winners) == 1, answers
    assert {answer["code"] for answer in refused} == {"resume-in-progress"}
    assert {answer["operation_id"] for answer in refused} == {winners[0]["operation_id"]}
    entries = await running.event_log.read_operation(parent_id, side=Side.CONTROL)
    assert len([entry for entry in entries if isinstance(entry.event, Resumed)]) == 1
    rows = await running.rows("SELECT operation_id FROM operations WHERE parent_id = :id", id=parent_id)
    assert rows == [{"operation_id": winners[0]["operation_id"]}]


async def test_the_same_start_over_two_orchestrators_is_one_operation(
    running: Running, tenant: StackEndpoints, tmp_path: Path
) -> None:
    """Fifty times the same command makes one operation, and nobody is refused."""
    command = StartOperation(kind="counter", spec={"units": 1})
    async with run_orchestrator(tenant, tmp_path):
        verdicts = await asyncio.gather(
            *(running.client.request(command, command_id="cmd-1") for _ in range(50))
        )
    assert {verdict.operation_id for verdict in verdicts} == {operation_id_of("cmd-1")}
    assert not [verdict for verdict in verdicts if isinstance(verdict, Rejected)]
    assert len(await running.event_log.read_operation(operation_id_of("cmd-1"))) == 1


async def test_missing_artifact_leaves_the_parent_as_it_was(running: Running) -> None:
    """The missing names are in the answer, nothing is written, and an older checkpoint still works."""
    lost: ArtifactReference = artifact(b"gone", "weights.bin")
    await running.keep_state()
    operation_id = await running.start()
    await running.happen(
        operation_id,
        claimed(),
        snapshot("cp-1", 50),
        snapshot("cp-2", 60, artifacts=(artifact(), lost)),
        failed(),
    )
    before = await running.event_log.last_sequence(operation_id, Side.RUN)
    verdict = await running.client.request(ResumeOperation(operation_id=operation_id, checkpoint_id="cp-2"))
    assert isinstance(verdict, Rejected)
    assert verdict.code is RejectionCode.ARTIFACTS_MISSING
    assert [problem.field for problem in verdict.problems] == ["weights.bin"]
    assert "cp-1" in verdict.fix
    assert await running.event_log.last_sequence(operation_id, Side.RUN) == before
    entries = await running.event_log.read_operation(operation_id, side=Side.CONTROL)
    assert not [entry for entry in entries if isinstance(entry.event, Resumed)]
    command = ResumeOperation(operation_id=operation_id, checkpoint_id="cp-1")
    assert isinstance(await running.client.request(command), Accepted)


async def test_crash_between_resumed_and_the_child_is_healed(
    tenant: StackEndpoints, running: Running
) -> None:
    """``resumed`` alone in the log, as a crash leaves it: the reactor makes the child and its work."""
    parent_id = await ended(running)
    child_id = operation_id_of("cmd-crashed")
    parent = (await running.event_log.read_operation(parent_id))[0].event
    assert isinstance(parent, Requested)
    child = parent.model_copy(update={"parent_id": parent_id})

    await running.happen(parent_id, Resumed(child_id=child_id, checkpoint_id="cp-1", child=child))

    made = await running.until(child_id, Requested)
    assert made.event.parent_id == parent_id
    async with asyncio.timeout(WAIT_SECONDS):
        while not await queue_of(running, tenant).contains(work_of(child_id)):
            pass


async def test_cancel_of_a_queued_operation_ends_it_without_a_worker(
    running: Running, tenant: StackEndpoints
) -> None:
    """Cancelled at once, and its work is gone before anyone could claim it."""
    operation_id = await running.start()
    assert isinstance(await running.client.request(CancelOperation(operation_id=operation_id)), Accepted)
    end = await running.until(operation_id, Cancelled)
    assert (end.event.attempt, end.event.unit) == (0, 0)
    async with asyncio.timeout(WAIT_SECONDS):
        while await queue_of(running, tenant).contains(work_of(operation_id)):
            pass


async def test_owner_hears_of_a_cancel_at_once(running: Running, tenant: StackEndpoints) -> None:
    """The worker that owns the operation gets the signal, and the operation is left to it."""
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), started())
    heard = asyncio.Event()

    async def wake() -> None:
        heard.set()

    signals = NatsSignals(running.orchestrator.connection, tenant.bus)
    subscription = await signals.serve(Owner("w-1", 1), operation_id, wake)
    await running.client.request(CancelOperation(operation_id=operation_id))
    async with asyncio.timeout(WAIT_SECONDS):
        await heard.wait()
    await subscription.close()
    assert not [
        entry
        for entry in await running.event_log.read_operation(operation_id)
        if isinstance(entry.event, Cancelled)
    ]


# --- the sweeper ----------------------------------------------------------------------------------


async def test_sweeper_queues_what_has_no_work(running: Running, tenant: StackEndpoints) -> None:
    """An operation whose work message is gone is dispatched again; one that has it is left alone."""
    queue = queue_of(running, tenant)
    lost, kept = await running.start(), await running.start()
    await queue.remove(work_of(lost))
    await running.projected()
    assert await running.orchestrator.sweeper.sweep() == 1
    assert await queue.contains(work_of(lost))
    assert await queue.contains(work_of(kept))
    assert await running.orchestrator.sweeper.sweep() == 0


async def test_sweeper_marks_a_lost_attempt_only_without_a_live_owner(
    running: Running, tenant: StackEndpoints
) -> None:
    """No work and a silent owner: ``attempt-lost``; no work and an owner that answers: only work again."""
    queue = queue_of(running, tenant)
    silent, alive = await running.start(), await running.start()

    async def wake() -> None:
        """Nothing to look at."""

    signals = NatsSignals(running.orchestrator.connection, tenant.bus)
    subscription = await signals.serve(Owner("w-1", 1), alive, wake)
    for operation_id in (silent, alive):
        await running.happen(operation_id, claimed(), started())
        await queue.remove(work_of(operation_id))
    await running.projected()

    assert await running.orchestrator.sweeper.sweep() == 2

    await subscription.close()
    entry = await running.until(silent, AttemptLost)
    assert (entry.event.attempt, entry.event.failure.code) == (1, "worker-lost")
    states = [each.event for each in await running.event_log.read_operation(alive)]
    assert not [event for event in states if isinstance(event, AttemptLost)]
    assert await queue.contains(work_of(silent))
    assert await queue.contains(work_of(alive))


async def test_sweeper_ends_what_is_to_be_cancelled_and_unowned(
    running: Running, tenant: StackEndpoints
) -> None:
    """Cancelled while a worker had it, lost by that worker: the sweeper ends it from its newest checkpoint."""
    operation_id = await running.start()
    await running.keep_state()
    await running.happen(operation_id, claimed(), started(), snapshot("cp-1", 50), cancel_requested())
    await running.orchestrator.effects.cancel(operation_id)
    await running.happen(operation_id, attempt_lost())
    await running.projected()

    await running.orchestrator.sweeper.sweep()

    end = await running.until(operation_id, Cancelled)
    assert (end.event.unit, end.event.checkpoint_id, end.event.reason) == (50, "cp-1", "enough")
    assert not await queue_of(running, tenant).contains(work_of(operation_id))


async def test_log_is_json_that_others_can_read(running: Running, tenant: StackEndpoints) -> None:
    """What is in the log is plain CloudEvents: the command's id is the cause, the root the correlation."""
    operation_id = await running.start("cmd-1")
    (entry,) = await running.event_log.read_operation(operation_id)
    document = json.loads(entry.envelope.model_dump_json())
    assert document["causationid"] == "cmd-1"
    assert document["correlationid"] == operation_id
    assert document["source"].startswith("/orchestrator/")
