"""Archived operations and the read models: restored, rebuilt and followed from files as from the log."""

import asyncio
import threading

import pytest
from milepost_contracts.events import Archived, CancelRequested
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.digests import table_digests
from milepost_orchestrator.adapters.projection_store import PostgresProjectionStore
from milepost_orchestrator.application.batch_projection import BatchProjection
from milepost_orchestrator.application.errors import RebuildInProgressError
from milepost_orchestrator.application.side_by_side import AT_ONCE
from milepost_runtime.event_log import StoredEvent
from milepost_runtime.history.archive import HistoryArchive
from sqlalchemy import text

from tests.orchestrator.archived import archive, state_of, stored
from tests.orchestrator.running import WAIT_SECONDS, Running
from tests.orchestrator.stories import claimed, failed, started
from tests.orchestrator.test_orchestrator_projection import tell_everything
from tests.orchestrator.test_orchestrator_rebuild import projections_of

pytestmark = pytest.mark.integration


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
