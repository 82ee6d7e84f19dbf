"""The past over HTTP and histories in another stack, on real servers."""

import asyncio
import io
from pathlib import Path

import pytest
from milepost_contracts.events import CheckpointRecorded, Requested, Side
from milepost_contracts.subjects import Subjects
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.history.files import HistoryHeader, read_history, write_history
from milepost_runtime.history.importing import import_history
from milepost_runtime.stored_events import entry_of

from tests.orchestrator.running import WAIT_SECONDS, Running, run_orchestrator
from tests.orchestrator.stories import cancelled, claimed, progress, snapshot, started
from tests.support.stack import fresh_tenant

pytestmark = pytest.mark.integration


async def tell(running: Running) -> tuple[str, int]:
    """An operation with a checkpoint on record that goes on; its id and the sequence of the record."""
    await running.keep_state()
    operation_id = await running.start(name="past")
    await running.happen(operation_id, claimed(), started(), progress(10), progress(20), snapshot())
    settled = await running.until(operation_id, CheckpointRecorded)
    return operation_id, settled.sequence


async def test_events_are_listed_page_by_page_with_filters(running: Running) -> None:
    """All events come in order over pages of any size; side, type, progress, sequence and time choose."""
    operation_id, last = await tell(running)
    path = f"/operations/{operation_id}/events"
    whole = (await running.http.get(path)).json()
    assert whole["next_cursor"] is None
    names = [event["event"] for event in whole["events"]]
    assert names == [
        "requested",
        "claimed",
        "started",
        "progress",
        "progress",
        "state-snapshot",
        "checkpoint-recorded",
    ]

    cursor, paged = 0, []
    while cursor is not None:
        page = (await running.http.get(path, params={"limit": 3, "cursor": cursor})).json()
        paged += page["events"]
        cursor = page["next_cursor"]
    assert paged == whole["events"]

    async def chosen(**parameters) -> list[str]:
        answer = await running.http.get(path, params=parameters)
        return [event["event"] for event in answer.json()["events"]]

    assert await chosen(side="control") == ["requested", "checkpoint-recorded"]
    assert await chosen(type=["claimed", "started"]) == ["claimed", "started"]
    assert "progress" not in await chosen(progress=False)
    assert await chosen(first_sequence=last) == ["checkpoint-recorded"]
    assert await chosen(last_sequence=1) == ["requested"]
    assert await chosen(since="2099-01-01T00:00:00Z") == []
    assert await chosen(until="2099-01-01T00:00:00Z") == names


async def test_state_as_of_any_event(running: Running) -> None:
    """As of the newest event it is what is shown; before the first there is none; both at once are refused."""
    operation_id, last = await tell(running)
    path = f"/operations/{operation_id}/state"
    now = (await running.http.get(path)).json()
    await running.projected()
    shown = (await running.http.get(f"/operations/{operation_id}")).json()
    assert now["sequence"] == last
    assert {name: now["state"][name] for name in ("status", "unit", "name", "spec")} == {
        name: shown[name] for name in ("status", "unit", "name", "spec")
    }
    assert now["state"]["checkpoints"]["cp-1"]["status"] == "recorded"
    early = (await running.http.get(path, params={"sequence": 4})).json()
    assert (early["state"]["status"], early["state"]["unit"], early["events"]) == ("running", 10, 4)
    assert (await running.http.get(path, params={"sequence": 0})).status_code == 404
    both = await running.http.get(path, params={"sequence": 1, "time": "2099-01-01T00:00:00Z"})
    assert both.status_code == 422
    assert (await running.http.get("/operations/op-nobody/state")).status_code == 404
    assert (await running.http.get("/operations/op-nobody/events")).status_code == 404


async def test_event_that_cannot_be_read_is_shown_with_the_reason(running: Running) -> None:
    """A newer event and one of bytes that mean nothing are listed, and the state is told without them."""
    operation_id, _ = await tell(running)
    subject = Subjects(running.orchestrator.settings.bus.prefix).events(operation_id, Side.CONTROL)
    await running.orchestrator.connection.request(f"{subject.removesuffix('>')}later", b"\xff nothing")
    listed = (await running.http.get(f"/operations/{operation_id}/events")).json()["events"]
    assert listed[-1]["event"] == "later"
    assert "unreadable" in listed[-1]
    state = (await running.http.get(f"/operations/{operation_id}/state")).json()
    assert state["state"]["status"] == "running"
    assert [event["event"] for event in state["unreadable"]] == ["later"]


async def test_imported_operations_are_shown_and_never_run(
    running: Running, stack: StackEndpoints, tmp_path: Path
) -> None:
    """Unfinished, resumed, with an unsettled checkpoint: in another stack it is read and nothing follows."""
    operation_id, _ = await tell(running)
    await running.happen(operation_id, snapshot("cp-2", 30), cancelled())
    child = (await running.resume(operation_id)).operation_id
    await running.until(child, Requested)
    stored = [each async for each in running.event_log.stored(operation_id)]
    stored += [each async for each in running.event_log.stored(child)]
    file = io.BytesIO()
    header = HistoryHeader("here", (operation_id, child))
    write_history(file, header, sorted(stored, key=lambda each: each.sequence))
    file.seek(0)
    _, events, end = read_history(file)
    # Without the child and its parent's last checkpoint settled: what would be repaired if it had happened there.
    unfinished = [
        each for each in events if each.operation_id == operation_id and "checkpoint" not in each.name
    ]

    async with fresh_tenant(stack) as other, run_orchestrator(other, tmp_path, sweep_seconds=0.2) as there:
        await import_history(there.event_log, unfinished, imported_from=end.digest)
        lone = [each for each in events if each.operation_id == child]
        await import_history(there.event_log, lone, imported_from=end.digest)
        own = await there.start()
        for _ in range(3):
            await there.orchestrator.sweeper.sweep()
        async with asyncio.timeout(WAIT_SECONDS):
            while not (await there.http.get(f"/operations/{own}")).json()["kind"]:
                pass
        rows = await there.rows("SELECT operation_id, status, imported_from FROM operations ORDER BY 1")
        assert {row["operation_id"]: (row["status"], row["imported_from"]) for row in rows} == {
            operation_id: ("cancelled", end.digest),
            child: ("queued", end.digest),
            own: ("queued", None),
        }
        for each in (operation_id, child):
            count = len([e async for e in there.event_log.stored(each)])
            assert count == len(unfinished if each == operation_id else lone)
        taken = await there.orchestrator.connection.jetstream().stream_info(f"{other.bus.prefix}_WORK")
        assert taken.state.messages == 1
        refused = await there.http.post(f"/operations/{operation_id}/resume")
        assert (refused.status_code, refused.json()["code"]) == (409, "not-resumable")
        shown = (await there.http.get(f"/operations/{operation_id}")).json()
        assert shown["imported_from"] == end.digest
        first = entry_of(unfinished[0]).envelope
        (seen, *_) = await there.event_log.read_operation(operation_id)
        assert (seen.envelope.id, seen.envelope.time) == (first.id, first.time)
