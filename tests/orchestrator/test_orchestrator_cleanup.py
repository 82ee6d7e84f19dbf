"""Cleanups over bus and HTTP, on the real servers: rows, manifests, events, and the race with resumes."""

import asyncio
from pathlib import Path

import pytest
from milepost_contracts.cleanup import CleanedUp, CleanUpCheckpoints, KeptBecause
from milepost_contracts.commands import DeleteCheckpoint, PinCheckpoint, ResumeOperation
from milepost_contracts.events import CheckpointDeleted, CheckpointRecorded, Event, Resumed, Side
from milepost_contracts.verdicts import Accepted, Rejected
from milepost_infra.endpoints import StackEndpoints

from tests.orchestrator.running import Running, run_orchestrator
from tests.orchestrator.stories import cancelled, claimed, completed, snapshot, started
from tests.orchestrator.test_orchestrator_quarantine import newer, put_raw

pytestmark = pytest.mark.integration


async def ended(running: Running, *names: str, end: Event | None = None) -> str:
    """An operation that has ended, with checkpoints on record."""
    await running.keep_state()
    operation_id = await running.start()
    await running.happen(
        operation_id,
        claimed(),
        started(),
        *(snapshot(name, unit) for unit, name in enumerate(names, 10)),
        end or cancelled(unit=60),
    )
    after = 0
    for _ in names:
        after = (await running.until(operation_id, CheckpointRecorded, after_sequence=after)).sequence
    await running.projected()
    return operation_id


async def written(running: Running, operation_id: str, *types: type[Event]) -> list[Event]:
    entries = await running.event_log.read_operation(operation_id, side=Side.CONTROL)
    return [entry.event for entry in entries if isinstance(entry.event, types)]


async def test_a_cleanup_keeps_the_newest_and_names_everything(running: Running) -> None:
    """Dry run and real one say the same; rows and manifests go, events say who and why; what stays is named."""
    done = await ended(running, "cp-1", "cp-2", "cp-3", end=completed())
    pinned = await ended(running, "cp-4", "cp-5")
    await running.client.request(PinCheckpoint(operation_id=pinned, checkpoint_id="cp-4"))
    busy = await running.start()
    await running.happen(busy, claimed(), started(), snapshot("cp-6"), snapshot("cp-7", 60))
    await running.until(busy, CheckpointRecorded)
    await running.projected()
    key = (await running.http.get("/checkpoints/cp-1")).json()["manifest_key"]
    rules = CleanUpCheckpoints(keep_newest=1, reason="monthly")
    would = await running.client.request(rules.model_copy(update={"dry_run": True}), command_id="cmd-c")
    answer = await running.client.request(rules, command_id="cmd-c")
    assert isinstance(answer, CleanedUp)
    assert would == answer.model_copy(update={"dry_run": True})
    assert sorted(entry.checkpoint_id for entry in answer.deleted) == ["cp-1", "cp-2"]
    kept = {entry.checkpoint_id: entry.kept for entry in answer.skipped}
    assert kept == {
        "cp-3": KeptBecause.NEWEST,
        "cp-4": KeptBecause.PINNED,
        "cp-5": KeptBecause.NEWEST,
        "cp-6": KeptBecause.IN_USE,
        "cp-7": KeptBecause.IN_USE,
    }
    rows = await running.rows("SELECT checkpoint_id FROM checkpoints ORDER BY checkpoint_id")
    assert [row["checkpoint_id"] for row in rows] == ["cp-3", "cp-4", "cp-5", "cp-6", "cp-7"]
    assert await asyncio.to_thread(running.store.get_document, key) is None
    for event in await written(running, done, CheckpointDeleted):
        assert isinstance(event, CheckpointDeleted)
        assert (event.requested_by, event.reason) == ("/test", "monthly: not the newest")


async def test_http_and_bus_say_the_same(running: Running) -> None:
    """A dry run over either has the same document; without a rule it is a problem with what is missing."""
    await ended(running, "cp-1", "cp-2")
    over_bus = await running.client.request(
        CleanUpCheckpoints(keep_newest=1, dry_run=True), command_id="cmd-1"
    )
    answer = await running.http.post(
        "/cleanup", json={"keep_newest": 1, "dry_run": True}, headers={"Idempotency-Key": "cmd-1"}
    )
    assert answer.status_code == 200
    assert answer.json() == over_bus.model_dump(mode="json")
    nothing = await running.http.post("/cleanup", json={})
    assert nothing.status_code == 422
    assert "needs a rule" in nothing.text
    young = await running.http.post("/cleanup", json={"older_than_seconds": 1e9})
    assert (young.json()["deleted"], young.json()["skipped"]) == ([], [])


async def test_a_stored_cleanup_has_its_verdict(running: Running) -> None:
    """Fire and forget: what came of it is kept for a day."""
    await ended(running, "cp-1")
    command_id = await running.client.publish(CleanUpCheckpoints(keep_newest=0))
    verdict = await running.client.verdict(command_id)
    assert isinstance(verdict, CleanedUp)
    assert [entry.checkpoint_id for entry in verdict.deleted] == ["cp-1"]


async def test_a_grandchild_and_the_deletion_of_its_checkpoint_never_both_win(
    running: Running, tenant: StackEndpoints, tmp_path: Path
) -> None:
    """Over two orchestrators: a resume from an ancestor's checkpoint, its deletion, a cleanup of it."""
    async with run_orchestrator(tenant, tmp_path) as second:
        for number in range(10):
            origin = await ended(running, f"cp-{number}")
            child = (await running.resume(origin)).operation_id
            await running.happen(child, claimed(), cancelled(unit=10))
            await running.projected()
            if number % 2:
                delete = DeleteCheckpoint(operation_id=origin, checkpoint_id=f"cp-{number}")
            else:
                delete = CleanUpCheckpoints(keep_newest=0, operation_id=origin)
            resumed, deleted = await asyncio.gather(
                running.client.request(ResumeOperation(operation_id=child)), second.client.request(delete)
            )
            gone = await written(running, origin, CheckpointDeleted)
            children = await written(running, child, Resumed)
            assert (len(children), len(gone)) in ((1, 0), (0, 1)), (resumed, deleted)
            if gone:
                assert isinstance(resumed, Rejected)
                assert resumed.code == "checkpoint-not-found"
            else:
                assert isinstance(resumed, Accepted)


async def test_an_operation_that_cannot_be_read_keeps_its_own_and_nothing_else(running: Running) -> None:
    """An event of a newer version in one operation's log: it is named, the other one is cleaned up."""
    strange = await ended(running, "cp-1", "cp-2")
    plain = await ended(running, "cp-3", "cp-4")
    await put_raw(running, strange, "run.completed", newer(strange, completed()))
    answer = await running.client.request(CleanUpCheckpoints(keep_newest=1))
    assert isinstance(answer, CleanedUp)
    assert answer.unreadable == (strange,)
    assert [entry.checkpoint_id for entry in answer.deleted] == ["cp-3"]
    assert await written(running, plain, CheckpointDeleted) != []
    assert (await running.http.get("/checkpoints/cp-1")).json()["status"] == "recorded"
