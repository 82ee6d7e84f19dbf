"""Checkpoints saved on request, pinned and deleted over bus and HTTP, on the real servers."""

import asyncio
from pathlib import Path

import pytest
from milepost_contracts.commands import (
    CheckpointNow,
    DeleteCheckpoint,
    PinCheckpoint,
    ResumeOperation,
    UnpinCheckpoint,
)
from milepost_contracts.events import (
    CheckpointDeleted,
    CheckpointPinned,
    CheckpointRecorded,
    CheckpointRequested,
    Resumed,
    Side,
)
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected
from milepost_infra.endpoints import StackEndpoints

from tests.orchestrator.running import Running, run_orchestrator
from tests.orchestrator.stories import cancelled, claimed, progress, snapshot, started

pytestmark = pytest.mark.integration


async def ended(running: Running) -> str:
    """A cancelled operation with the checkpoints cp-1 and cp-2 on record."""
    await running.keep_state()
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), started(), snapshot("cp-1", 50), snapshot("cp-2", 60))
    first = await running.until(operation_id, CheckpointRecorded)
    await running.until(operation_id, CheckpointRecorded, after_sequence=first.sequence)
    await running.happen(operation_id, cancelled(unit=60))
    await running.projected()
    return operation_id


async def control(running: Running, operation_id: str, *types: type) -> list:
    entries = await running.event_log.read_operation(operation_id, side=Side.CONTROL)
    return [entry.event for entry in entries if isinstance(entry.event, types)]


async def test_a_deleted_checkpoint_is_gone_from_postgres_and_the_store(running: Running) -> None:
    """Row and manifest; the artifacts stay, for others may refer to them; the newest is the one before."""
    operation_id = await ended(running)
    key = (await running.http.get("/checkpoints/cp-2")).json()["manifest_key"]
    assert await asyncio.to_thread(running.store.get_document, key) is not None
    answer = await running.http.delete("/checkpoints/cp-2", params={"reason": "old"})
    assert (answer.status_code, answer.json()["verdict"]) == (200, "accepted")
    await running.projected()
    assert (await running.http.get("/checkpoints/cp-2")).status_code == 404
    rows = await running.rows(
        "SELECT checkpoint_id FROM checkpoints UNION ALL SELECT checkpoint_id FROM checkpoint_artifacts"
    )
    assert {row["checkpoint_id"] for row in rows} == {"cp-1"}
    assert await asyncio.to_thread(running.store.get_document, key) is None
    (event,) = await control(running, operation_id, CheckpointDeleted)
    assert (event.reason, event.requested_by) == ("old", "/http")
    verdict = await running.client.request(ResumeOperation(operation_id=operation_id))
    assert isinstance(verdict, Accepted)
    assert verdict.checkpoint_id == "cp-1"


async def test_pins_are_seen_and_keep_from_deletion(running: Running) -> None:
    """Pinned over HTTP, refused over the bus, unpinned over the bus, deleted over HTTP."""
    operation_id = await ended(running)
    answer = await running.http.post("/checkpoints/cp-1/pin", json={"reason": "for the paper"})
    assert answer.status_code == 200
    await running.projected()
    assert (await running.http.get("/checkpoints/cp-1")).json()["pinned"] is True
    about = {"operation_id": operation_id, "checkpoint_id": "cp-1"}
    refused = await running.client.request(DeleteCheckpoint.model_validate(about))
    problem = await running.http.delete("/checkpoints/cp-1")
    assert isinstance(refused, Rejected)
    assert (refused.code.value, problem.status_code, problem.json()["code"]) == (
        "checkpoint-pinned",
        409,
        "checkpoint-pinned",
    )
    assert problem.json()["fix"] == refused.fix
    assert isinstance(await running.client.request(UnpinCheckpoint.model_validate(about)), Accepted)
    assert (await running.http.delete("/checkpoints/cp-1")).status_code == 200


async def test_repeated_commands_take_effect_once_and_dry_runs_never(running: Running) -> None:
    """The same key twice is a duplicate; a dry run says the verdict of the real one."""
    operation_id = await ended(running)
    pin = PinCheckpoint(operation_id=operation_id, checkpoint_id="cp-1")
    tried = await running.client.request(pin.model_copy(update={"dry_run": True}))
    assert isinstance(tried, Accepted)
    assert await control(running, operation_id, CheckpointPinned) == []
    first = await running.client.request(pin, command_id="cmd-pin")
    second = await running.client.request(pin, command_id="cmd-pin")
    assert isinstance(first, Accepted)
    assert isinstance(second, Duplicate)
    assert len(await control(running, operation_id, CheckpointPinned)) == 1
    dry = await running.http.delete("/checkpoints/cp-1", params={"dry_run": True})
    real = await running.http.delete("/checkpoints/cp-1")
    assert (dry.status_code, dry.json()["code"]) == (real.status_code, real.json()["code"])


async def test_of_a_resume_and_a_deletion_at_once_only_one_wins(
    running: Running, tenant: StackEndpoints, tmp_path: Path
) -> None:
    """Over two orchestrators: either the checkpoint is gone and nothing goes on from it, or it stays."""
    async with run_orchestrator(tenant, tmp_path) as second:
        for _ in range(4):
            operation_id = await ended(running)
            delete = DeleteCheckpoint(operation_id=operation_id, checkpoint_id="cp-2")
            resumed, deleted = await asyncio.gather(
                running.client.request(ResumeOperation(operation_id=operation_id, checkpoint_id="cp-2")),
                second.client.request(delete),
            )
            assert isinstance(resumed, Accepted) != isinstance(deleted, Accepted), (resumed, deleted)
            children = await control(running, operation_id, Resumed)
            gone = await control(running, operation_id, CheckpointDeleted)
            assert (len(children), len(gone)) in ((1, 0), (0, 1))
            if children:  # so that the next round's checkpoints may have the same names
                await running.happen(children[0].child_id, claimed(), cancelled(unit=60))
                deleted = await second.client.request(delete)
                assert isinstance(deleted, Accepted)
            about = DeleteCheckpoint(operation_id=operation_id, checkpoint_id="cp-1")
            assert isinstance(await running.client.request(about), Accepted)


async def test_a_checkpoint_now_is_asked_for_while_it_runs_only(running: Running) -> None:
    """Over HTTP with who and why; refused with the same words on the bus once it has ended."""
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), started(), progress(10))
    answer = await running.http.post(
        f"/operations/{operation_id}/checkpoint-now", json={"reason": "before the move"}
    )
    assert (answer.status_code, answer.json()["verdict"]) == (200, "accepted")
    (event,) = await control(running, operation_id, CheckpointRequested)
    assert (event.reason, event.requested_by) == ("before the move", "/http")
    await running.happen(operation_id, cancelled(unit=10))
    refused = await running.client.request(CheckpointNow(operation_id=operation_id))
    problem = await running.http.post(f"/operations/{operation_id}/checkpoint-now")
    assert isinstance(refused, Rejected)
    assert (problem.status_code, problem.json()["code"]) == (409, refused.code.value)
    assert problem.json()["detail"] == refused.message


async def test_a_checkpoint_that_is_not_there_is_named(running: Running) -> None:
    """404, with where to look."""
    answer = await running.http.delete("/checkpoints/cp-nowhere")
    assert (answer.status_code, answer.json()["code"]) == (404, "checkpoint-not-found")
    operation_id = await ended(running)
    answer = await running.http.delete("/checkpoints/cp-nowhere", params={"operation_id": operation_id})
    assert answer.status_code == 404
    assert "cp-1" in answer.json()["fix"]
