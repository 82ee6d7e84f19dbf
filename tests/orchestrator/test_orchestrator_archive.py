"""Archived operations: out of the log, and everything about them as before."""

import asyncio
import os
import re
import sys
import threading
from datetime import timedelta

import pytest
from milepost_contracts.commands import CancelOperation
from milepost_contracts.events import Archived, Cancelled, CancelRequested, CheckpointRecorded, Side
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.digests import table_digests
from milepost_orchestrator.adapters.projection_store import PostgresProjectionStore
from milepost_orchestrator.application.archiving import ArchiveReport
from milepost_orchestrator.application.batch_projection import BatchProjection
from milepost_orchestrator.application.errors import RebuildInProgressError
from milepost_orchestrator.application.references import REFERRING_EVENTS
from milepost_orchestrator.application.side_by_side import AT_ONCE
from milepost_orchestrator.projections_bootstrap import Projections
from milepost_runtime.bus.jetstream import JetStream
from milepost_runtime.bus.topology import Topology
from milepost_runtime.clock import SystemClock
from milepost_runtime.errors import ArchiveDamagedError
from milepost_runtime.event_log import StoredEvent
from milepost_runtime.history.archive import HistoryArchive
from sqlalchemy import text

from tests.orchestrator.running import WAIT_SECONDS, Running
from tests.orchestrator.stories import cancelled, claimed, completed, failed, progress, snapshot, started
from tests.orchestrator.test_orchestrator_projection import tell_everything
from tests.orchestrator.test_orchestrator_rebuild import projections_of

pytestmark = pytest.mark.integration
FAULT_ROUNDS = int(os.environ.get("MILEPOST_FAULT_ROUNDS", "0"))
STEPS = 12
"""Of archiving two operations: the file, the event, the removal of each, before and after."""


async def archive(projections: Projections, **options: object) -> ArchiveReport:
    """Archive whatever has ended by tomorrow."""
    return await projections.archive(SystemClock().now() + timedelta(days=1), requested_by="/test", **options)


async def stored(running: Running, operation_id: str) -> list[StoredEvent]:
    """An operation's events as the orchestrator reads them, ``archived`` left out."""
    found = running.orchestrator.history._event_log.stored(operation_id)
    return [each async for each in found if each.name != Archived.NAME]


async def messages(running: Running, operation_id: str) -> dict[str, int]:
    """What the JetStream stream itself holds of an operation: how many events by name."""
    bus = running.orchestrator.settings.bus
    jetstream = JetStream(running.orchestrator.connection, timeout_seconds=5)
    info = await jetstream.call(
        f"STREAM.INFO.{Topology(bus).events}", {"subjects_filter": f"{bus.prefix}.event.{operation_id}.>"}
    )
    subjects = info["state"].get("subjects") or {}
    return {subject.rpartition(".")[2]: count for subject, count in subjects.items()}


async def state_of(running: Running, operation_id: str) -> dict:
    """The state, without its position."""
    document = (await running.http.get(f"/operations/{operation_id}/state")).json()["state"]
    return {name: value for name, value in document.items() if name != "sequence"}


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


async def test_projection_that_was_restored_from_before_comes_to_the_same_rows(
    running: Running, tenant: StackEndpoints
) -> None:
    """A cursor that stands before events which have left the log: the file fills the gap, and nothing twice."""
    ids = await tell_everything(running)
    await running.projected()
    async with projections_of(tenant) as projections:
        await archive(projections)
        await running.projected()
        good = await table_digests(running.orchestrator.engine)
        last = max([each.sequence for each in await stored(running, ids[0])])
        async with running.orchestrator.engine.begin() as connection:
            await connection.exec_driver_sql(f"DELETE FROM metrics WHERE sequence > {last // 2}")
            await connection.exec_driver_sql(f"DELETE FROM operation_events WHERE sequence > {last // 2}")
            await connection.exec_driver_sql("UPDATE operations SET unit = 1, status = 'running'")
            await connection.exec_driver_sql("DELETE FROM checkpoints")
            await connection.exec_driver_sql(
                f"UPDATE projection_cursor SET sequence = {last // 2}, generation = generation + 1"
            )
        await running.happen(await running.start(), claimed())
        await running.projected()
        assert (await projections.rebuild(lambda _: None, swap=False)).equal
        assert good
    assert (await state_of(running, ids[0]))["status"] == "cancelled"


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


async def test_operation_whose_file_is_lost_stops_nobody(running: Running, tenant: StackEndpoints) -> None:
    """What comes of it is set aside, everything else goes on; with the file it is applied after all."""
    lost, other = await running.start(), await running.start()
    for each in (lost, other):
        await running.happen(each, claimed(), started(), failed())
    await running.projected()
    async with projections_of(tenant) as projections:
        await archive(projections)
        await running.projected()
        event = await running.event_log.newest_archived(lost)
        content = await asyncio.to_thread(running.store.get_document, event.history_key)
        await asyncio.to_thread(running.store.delete_document, event.history_key)
        assert not (await projections.rebuild(lambda _: None, swap=False)).equal
        running.orchestrator.projector._projection.forget()
        for each in (lost, other):
            await running.happen(each, CancelRequested(reason="too late", requested_by="/test"))
        await running.projected()
        (row,) = await running.rows("SELECT operation_id, name, error FROM quarantine")
        assert (row["operation_id"], row["name"]) == (lost, "cancel-requested")
        assert event.history_key in row["error"]
        (refused,) = await projections.quarantine.retry(lost)
        assert refused.applied == ()
        await asyncio.to_thread(running.store.put_document, event.history_key, content)
        (applied,) = await projections.quarantine.retry(lost)
        assert len(applied.applied) == 1
        assert (await projections.rebuild(lambda _: None, swap=False)).equal


async def test_projector_that_lags_behind_another_ones_restoring_writes_nothing_twice(
    running: Running, tenant: StackEndpoints
) -> None:
    """One restores what was archived beyond the cursor, the other comes by the log: the same rows, once."""
    ids = [await running.start() for _ in range(3)]
    for each in ids:
        await running.happen(each, claimed(), started(), failed())
    await running.projected()
    lagging, goes_on = running.orchestrator.projector._store, asyncio.Event()
    apply = lagging.apply

    async def apply_later(*arguments: object, **named: object) -> bool:
        await goes_on.wait()
        return await apply(*arguments, **named)

    async with projections_of(tenant) as projections:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lagging, "apply", apply_later)
            for each in ids:
                await running.happen(each, CancelRequested(reason="too late", requested_by="/test"))
            archiving = asyncio.create_task(archive(projections))
            for each in ids:
                await running.until(each, Archived)
            assert await rows_named(running, "cancel-requested") == 0
            store = PostgresProjectionStore(projections.engine)
            early = BatchProjection(projections.event_log, store)
            early.forget()
            await early.restore_archived(projections.archive_log, await store.cursor())
            assert await rows_named(running, "cancel-requested") == len(ids)
            goes_on.set()
            await archiving
        await running.projected()
        assert await rows_named(running, "cancel-requested") == len(ids)
        assert (await projections.rebuild(lambda _: None, swap=False)).equal


async def rows_named(running: Running, name: str) -> int:
    """How many rows of an event's name there are now."""
    query = text("SELECT count(*) FROM operation_events WHERE name = :name")
    async with running.orchestrator.engine.connect() as connection:
        return (await connection.execute(query, {"name": name})).scalar_one()


async def test_rebuilding_fetches_each_file_once_and_several_at_once(
    running: Running, tenant: StackEndpoints
) -> None:
    """As many files as operations are read, side by side, within the bound."""
    ids = [await running.start() for _ in range(12)]
    for each in ids:
        await running.happen(each, claimed(), started(), failed())
    await running.projected()
    fetched: list[str] = []
    open_now, most = 0, 0
    get = HistoryArchive.get

    def counted(self, operation_id: str, archived: Archived) -> list[StoredEvent]:
        nonlocal open_now, most
        with lock:
            fetched.append(operation_id)
            open_now += 1
            most = max(most, open_now)
        together.wait(WAIT_SECONDS)
        try:
            return get(self, operation_id, archived)
        finally:
            with lock:
                open_now -= 1

    lock, together = threading.Lock(), threading.Barrier(4)
    async with projections_of(tenant) as projections:
        await archive(projections)
        await running.projected()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(HistoryArchive, "get", counted)
            assert (await projections.rebuild(lambda _: None, swap=False)).equal
    assert sorted(fetched) == sorted(ids)
    assert 4 <= most <= AT_ONCE


async def test_rebuild_and_archive_do_not_run_together(running: Running, tenant: StackEndpoints) -> None:
    """Whoever comes second is refused, so a rebuild never sees events disappear."""
    await running.start()
    async with projections_of(tenant) as one, projections_of(tenant) as other:
        begun = asyncio.Event()
        rebuilding = asyncio.create_task(one.rebuild(lambda _: begun.set(), swap=False))
        await begun.wait()
        with pytest.raises(RebuildInProgressError):
            await archive(other)
        await rebuilding


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
