"""Archived operations: out of the log, and everything about them as before."""

import asyncio
import os
import re
import sys

import pytest
from milepost_contracts.commands import CancelOperation
from milepost_contracts.events import Archived, Cancelled, CheckpointRecorded, Side
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.digests import table_digests
from milepost_orchestrator.application.errors import RebuildInProgressError
from milepost_orchestrator.application.references import REFERRING_EVENTS
from milepost_orchestrator.projections_bootstrap import Projections
from milepost_runtime.errors import ArchiveDamagedError

from tests.orchestrator.archived import archive, messages, state_of, stored
from tests.orchestrator.running import WAIT_SECONDS, Running
from tests.orchestrator.stories import cancelled, claimed, completed, failed, progress, snapshot, started
from tests.orchestrator.test_orchestrator_projection import tell_everything
from tests.orchestrator.test_orchestrator_rebuild import projections_of

pytestmark = pytest.mark.integration
FAULT_ROUNDS = int(os.environ.get("MILEPOST_FAULT_ROUNDS", "0"))
STEPS = 12
"""Of archiving two operations: the file, the event, the removal of each, before and after."""


async def shown(running: Running, operation_id: str) -> tuple[object, ...]:
    """All that a client sees of an operation."""
    await running.projected()
    detail = (await running.http.get(f"/operations/{operation_id}")).json()
    events = (await running.http.get(f"/operations/{operation_id}/events", params={"limit": 200})).json()
    told = [event for event in events["events"] if event["event"] != Archived.NAME]
    return (
        {name: value for name, value in detail.items() if name != "sequence"},
        told,
        await state_of(running, operation_id),
        await past(running, operation_id, [event["sequence"] for event in told]),
        await pages(running, operation_id, told),
        await running.client.wait(operation_id),
    )


async def past(running: Running, operation_id: str, sequences: list[int]) -> list[object]:
    """The states as of some events, as HTTP tells them, and the events page by page."""
    path = f"/operations/{operation_id}"
    found: list[object] = []
    for sequence in sequences[::4]:
        answer = await running.http.get(f"{path}/state", params={"sequence": sequence})
        found.append(answer.raise_for_status().json())
    cursor: str | None = "0"
    while cursor:
        params = {"limit": 7, "cursor": cursor, "last_sequence": sequences[-1]}
        page = (await running.http.get(f"{path}/events", params=params)).json()
        found.append(page["events"])
        cursor = page["next_cursor"]
    return found


async def pages(running: Running, operation_id: str, told: list[dict]) -> list[list[str]]:
    """What the dashboard shows of it: the operation, its timeline, and two moments of its replay."""
    path = f"/ui/operations/{operation_id}"
    operation = (await running.http.get(path)).raise_for_status().text
    timeline = (await running.http.get(f"{path}/events?progress=true&form=json")).raise_for_status().text
    moments = [
        (await running.http.get(f"{path}/replay?seq={told[place]['sequence']}")).raise_for_status().text
        for place in (len(told) // 2, -1)
    ]
    words = r'data-status="\w+"|<pre class="json".*?</pre>|<th scope="row">.*?</tr>'
    shown_there = [re.findall(words, each, re.DOTALL) for each in (operation, timeline, *moments)]
    return [[word for word in each if "archived" not in word] for each in shown_there]


async def referred(running: Running) -> set[int]:
    """The events by which the orphan sweep knows what is needed."""
    found = running.orchestrator.history._event_log.read_types(REFERRING_EVENTS)
    return {entry.sequence async for entry in found}


async def test_archived_operations_are_read_folded_and_rebuilt_as_before(
    running: Running, tenant: StackEndpoints
) -> None:
    """Everything a client sees is the same, the log holds one event of each, and a rebuild from it is equal."""
    ids = await tell_everything(running)
    lives = await running.start()
    await running.happen(lives, claimed(), started(), progress(5))
    await running.projected()
    before = {each: (await shown(running, each), await stored(running, each)) for each in ids}
    referring = await referred(running)
    async with projections_of(tenant) as projections:
        planned = await archive(projections, dry_run=True)
        assert {each.operation_id for each in planned.archived} == set(ids)
        assert "archived" not in await messages(running, ids[0])
        done = await archive(projections)
        assert {each.operation_id for each in done.archived} == set(ids)
        assert done.skipped == {}
        assert done.events_removed == sum(len(events) for _, events in before.values())
        for each in ids:
            assert await messages(running, each) == {"archived": 1}
            assert (await shown(running, each), await stored(running, each)) == before[each]
        assert (await messages(running, lives))["progress"] == 1
        assert await referred(running) == referring
        digests = await table_digests(running.orchestrator.engine)
        report = await projections.rebuild(lambda _: None, swap=True)
        assert report.equal, report
        assert await table_digests(running.orchestrator.engine) == digests
        assert (await archive(projections)).archived == []


async def test_archived_operation_goes_on_as_any_other(running: Running, tenant: StackEndpoints) -> None:
    """It can be resumed from its checkpoint; later it is archived again, with all that happened since."""
    await running.keep_state()
    first = await running.start()
    saved = await running.happen(first, claimed(), started(), progress(10), snapshot("cp-1", 10))
    await running.until(first, CheckpointRecorded, after_sequence=saved - 1)
    await running.client.request(CancelOperation(operation_id=first))
    await running.happen(first, cancelled(1, 10))
    await running.until(first, Cancelled)
    await running.projected()
    async with projections_of(tenant) as projections:
        (one,) = (await archive(projections)).archived
        child = (await running.resume(first)).operation_id
        detail = (await running.http.get(f"/operations/{child}")).json()
        assert (
            detail["origin"]["checkpoint_id"] == "cp-1"
            if "origin" in detail
            else detail["parent_id"] == first
        )
        await running.happen(child, claimed(), started(unit=10), completed())
        await running.projected()
        events = await stored(running, first)
        again = await archive(projections)
        assert {each.operation_id for each in again.archived} == {first, child}
        assert await messages(running, first) == {"archived": 1}
        found = [each async for each in running.orchestrator.history._event_log.stored(first)]
        assert [each.name for each in found].count("archived") == 2
        assert [each for each in found if each.name != "archived"] == events
        counts = {each.operation_id: each.events for each in again.archived}
        assert counts[first] == len(found) - 1 > one.events
        assert (await projections.rebuild(lambda _: None, swap=False)).equal


async def test_operation_that_something_may_follow_from_stays(
    running: Running, tenant: StackEndpoints
) -> None:
    """Not ended, a checkpoint not on record, or ended since: named with the reason, and untouched."""
    await running.keep_state()
    ended = await running.start()
    await running.happen(ended, claimed(), started(), failed())
    lives = await running.start()
    await running.happen(lives, claimed(), started())
    await running.projected()
    async with projections_of(tenant) as projections:
        cutoff = (await running.until(ended, type(failed()))).envelope.time
        late = await projections.archive(cutoff, requested_by="/test")
        assert (late.archived, late.skipped) == ([], {})
        await asyncio.to_thread(running.store.put_document, "archive/x", b"not of any operation")
        done = await archive(projections)
        assert [each.operation_id for each in done.archived] == [ended]
    assert "archived" not in await messages(running, lives)


async def test_half_removed_events_are_read_whole(running: Running, tenant: StackEndpoints) -> None:
    """A removal that broke off after some events: reading, folding and the next run make nothing of it."""
    first, _, _ = await tell_everything(running)
    await running.projected()
    before = await stored(running, first)
    async with projections_of(tenant) as projections:
        remove = type(projections.archive_log).remove

        async def half(self, operation_id: str, archived: Archived) -> int:
            part = archived.model_copy(update={"last_sequence": before[len(before) // 2].sequence})
            return await remove(self, operation_id, part)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(projections.archive_log), "remove", half)
            await archive(projections)
        assert "cancelled" in await messages(running, first)
        assert await stored(running, first) == before
        entries = await running.orchestrator.history._event_log.read_operation(first, side=Side.RUN)
        assert [entry.sequence for entry in entries] == [
            each.sequence for each in before if each.side is Side.RUN
        ]
        assert (await projections.rebuild(lambda _: None, swap=True)).equal
        finished = await archive(projections)
        assert finished.finished >= 1
        assert await messages(running, first) == {"archived": 1}
        assert await stored(running, first) == before


async def test_damaged_file_is_told_and_nothing_is_made_up(running: Running, tenant: StackEndpoints) -> None:
    """A file that is not what was written is refused by its digest."""
    await running.keep_state()
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), started(), failed())
    await running.projected()
    async with projections_of(tenant) as projections:
        await archive(projections)
    event = await running.event_log.newest_archived(operation_id)
    assert event is not None
    await asyncio.to_thread(running.store.put_document, event.history_key, b"something else")
    with pytest.raises(ArchiveDamagedError):
        await stored(running, operation_id)
    answer = await running.http.get(f"/operations/{operation_id}/events")
    assert (answer.status_code, answer.json()["code"]) == (503, "archive-damaged")
    assert "bucket" in answer.json()["fix"]
    assert (await running.http.get(f"/operations/{operation_id}")).status_code == 200


@pytest.mark.faults
async def test_killed_at_any_step_nothing_is_lost(running: Running, tenant: StackEndpoints) -> None:
    """kill -9 before and after each write and removal: everything reads as before, and the next run finishes."""
    await running.keep_state()
    chosen = range(1, STEPS + 1) if FAULT_ROUNDS else (2, 7, 8, 10)
    for step in chosen:
        ids = [await running.start(), await running.start()]
        for each in ids:
            await running.happen(each, claimed(), started(), progress(5), failed())
        await running.projected()
        before = [await stored(running, each) for each in ids]
        await kill_at(step, tenant)
        assert [await stored(running, each) for each in ids] == before
        async with projections_of(tenant) as projections:
            await until_unlocked(projections)
            assert [await stored(running, each) for each in ids] == before
            for each in ids:
                assert await messages(running, each) == {"archived": 1}
    async with projections_of(tenant) as projections:
        assert (await projections.rebuild(lambda _: None, swap=False)).equal


async def kill_at(step: int, tenant: StackEndpoints) -> None:
    """Archive in a process of its own, and kill it before a step."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.orchestrator.archive_and_stop", str(step),
        env={**os.environ, **tenant.environment()},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(WAIT_SECONDS):
        said = (await process.stdout.readline()).decode()
    assert said, "it failed"
    assert said != "done\n", "it has fewer steps"
    process.kill()
    await process.wait()


async def until_unlocked(projections: Projections) -> None:
    """Archive as soon as Postgres has noticed that the killed one is gone."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                await archive(projections)
                return
            except RebuildInProgressError:
                await asyncio.sleep(0.05)
