"""Rebuilding read models beside the live ones: equal, never in anybody's way, whole or not at all."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from milepost_contracts.events import CheckpointRecorded
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.digests import table_digests
from milepost_orchestrator.application.errors import RebuildInProgressError
from milepost_orchestrator.application.rebuilding import RebuildProgress
from milepost_orchestrator.projections_bootstrap import Projections, ProjectionSettings, open_projections
from sqlalchemy import text

from tests.orchestrator.running import WAIT_SECONDS, Running, settings_of
from tests.orchestrator.stories import claimed, completed, progress, snapshot, started
from tests.orchestrator.test_orchestrator_projection import tell_everything

pytestmark = pytest.mark.integration
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"
SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'public\\_%'"


@asynccontextmanager
async def projections_of(tenant: StackEndpoints) -> AsyncIterator[Projections]:
    settings = ProjectionSettings(tenant.bus, tenant.store, settings_of(tenant).database)
    async with open_projections(settings) as opened:
        yield opened


async def spoil(running: Running) -> None:
    """Make the live rows other than what the log says."""
    async with running.orchestrator.engine.begin() as connection:
        await connection.execute(text("UPDATE operations SET unit = unit + 1 WHERE status = 'failed'"))
        await connection.execute(text("DELETE FROM metrics"))


async def test_verify_finds_the_live_read_models_equal_and_leaves_them_alone(
    running: Running, tenant: StackEndpoints
) -> None:
    """hash(live) = hash(rebuilt) for every table, and nothing is left behind."""
    await tell_everything(running)
    await running.projected()
    told: list[RebuildProgress] = []
    async with projections_of(tenant) as projections:
        report = await projections.rebuild(told.append, swap=False)
        assert [words async for words in projections.missing_in_store()] == []
    assert report.equal
    assert not report.swapped
    assert {table.table for table in report.tables} >= {"operations", "attempts", "checkpoints", "quarantine"}
    assert all(table.live_rows == table.rebuilt_rows for table in report.tables)
    assert (told[-1].sequence, told[-1].entries) == (report.sequence, report.entries)
    assert await running.rows(SCHEMAS) == []


async def test_rebuild_repairs_what_was_spoilt_and_names_it(running: Running, tenant: StackEndpoints) -> None:
    """Rows that are not what the log says are named by their keys; after the swap everything is right again."""
    _, _, failed = await tell_everything(running)
    await running.projected()
    good = await table_digests(running.orchestrator.engine)
    await spoil(running)
    async with projections_of(tenant) as projections:
        found = await projections.rebuild(lambda _: None, swap=False)
        assert not found.equal
        examples = {table.table: table.examples for table in found.tables if not table.equal}
        assert examples["operations"] == (f"{failed} differs",)
        assert all(words.endswith("only rebuilt") for words in examples["metrics"])
        indexes = await running.rows(INDEXES)
        done = await projections.rebuild(lambda _: None, swap=True)
        assert done.swapped
        assert await running.rows(INDEXES) == indexes
        again = await projections.rebuild(lambda _: None, swap=False)
    assert again.equal
    assert await table_digests(running.orchestrator.engine) == good
    assert await running.rows(SCHEMAS) == []


async def test_reading_and_writing_go_on_while_read_models_are_swapped(
    running: Running, tenant: StackEndpoints
) -> None:
    """Readers over HTTP never fail and never see less than before; the projector goes on in the new tables."""
    await running.keep_state()
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), started(), progress(1))
    await running.projected()
    seen: list[int] = []
    stop = asyncio.Event()

    async def read() -> None:
        while not stop.is_set():
            answers = await asyncio.gather(
                running.http.get(f"/operations/{operation_id}"),
                running.http.get("/operations"),
                running.http.get("/checkpoints"),
                running.http.get("/readyz"),
            )
            assert [answer.status_code for answer in answers] == [200] * 4
            seen.append(answers[0].json()["unit"])

    async def write() -> None:
        unit = 1
        while not stop.is_set():
            unit += 1
            await running.happen(operation_id, progress(unit))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        tasks.create_task(write())
        async with projections_of(tenant) as projections:
            for _ in range(3):
                report = await projections.rebuild(lambda _: None, swap=True)
                assert report.equal
        stop.set()
    assert len(seen) > 10
    assert seen == sorted(seen)
    last = await running.happen(operation_id, snapshot("cp-1", 5000), completed())
    await running.until(operation_id, CheckpointRecorded)
    (row,) = await running.rows("SELECT status, sequence FROM operations")
    assert row["status"] == "completed"
    assert row["sequence"] >= last
    (cursor,) = await running.rows("SELECT generation FROM projection_cursor")
    assert cursor["generation"] == 3
    async with projections_of(tenant) as projections:
        assert (await projections.rebuild(lambda _: None, swap=False)).equal


async def test_long_reader_puts_the_swap_off_and_is_not_disturbed(
    running: Running, tenant: StackEndpoints
) -> None:
    """A transaction that has read a table keeps it; others read on; the swap comes when it has ended."""
    operation_id = await running.start()
    await running.projected()
    async with projections_of(tenant) as projections:
        async with running.orchestrator.engine.connect() as reader:
            first = (await reader.execute(text("SELECT operation_id FROM operations"))).all()
            rebuilding = asyncio.create_task(projections.rebuild(lambda _: None, swap=True))
            waited, _ = await asyncio.wait({rebuilding}, timeout=3.0)
            assert not waited
            async with asyncio.timeout(WAIT_SECONDS):
                assert (await running.http.get(f"/operations/{operation_id}")).status_code == 200
            assert (await reader.execute(text("SELECT operation_id FROM operations"))).all() == first
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await rebuilding).swapped


async def test_second_rebuild_is_refused_while_one_runs(running: Running, tenant: StackEndpoints) -> None:
    """One at a time; the second one is told."""
    await running.start()
    async with projections_of(tenant) as one, projections_of(tenant) as other:
        refused: list[RebuildInProgressError] = []
        begun, go_on = asyncio.Event(), asyncio.Event()

        class Pause:
            def __call__(self, _: RebuildProgress) -> None:
                begun.set()

        rebuilding = asyncio.create_task(one.rebuild(Pause(), swap=False))
        await begun.wait()
        try:
            await other.rebuild(lambda _: None, swap=False)
        except RebuildInProgressError as error:
            refused.append(error)
        go_on.set()
        await rebuilding
        assert refused
        assert (await other.rebuild(lambda _: None, swap=False)).equal


async def test_cancelled_rebuild_leaves_nothing_behind(running: Running, tenant: StackEndpoints) -> None:
    """Whoever ends it early has the live read models as they were, and no schema to clean up."""
    await tell_everything(running)
    await running.projected()
    before = await table_digests(running.orchestrator.engine)
    async with projections_of(tenant) as projections:
        begun = asyncio.Event()
        rebuilding = asyncio.create_task(projections.rebuild(lambda _: begun.set(), swap=True))
        await begun.wait()
        rebuilding.cancel()
        await asyncio.wait({rebuilding})
        assert rebuilding.cancelled()
        assert await running.rows(SCHEMAS) == []
    assert await table_digests(running.orchestrator.engine) == before


async def test_killed_rebuild_is_cleaned_up_by_the_next(running: Running, tenant: StackEndpoints) -> None:
    """kill -9 in the middle: the live read models are untouched, and the next rebuild removes what was left."""
    await tell_everything(running)
    await running.projected()
    before = await table_digests(running.orchestrator.engine)
    for stage in ("filling", "comparing", "swapping"):
        killed = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.orchestrator.rebuild_and_stop", stage,
            env={**os.environ, **tenant.environment()},
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await killed.stdout.readline()).decode().strip() == stage
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
        assert await running.rows(SCHEMAS) == [{"nspname": "public_rebuild"}]
        assert await table_digests(running.orchestrator.engine) == before
    # The killed one's connection, and so its lock, goes as soon as Postgres notices.
    async with projections_of(tenant) as projections, asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                report = await projections.rebuild(lambda _: None, swap=True)
                break
            except RebuildInProgressError:
                await asyncio.sleep(0.05)
    assert report.equal
    assert await running.rows(SCHEMAS) == []
    assert await table_digests(running.orchestrator.engine) == before


async def test_what_is_missing_in_the_store_is_named(running: Running, tenant: StackEndpoints) -> None:
    """A lost manifest and a lost artifact are told by verify --store."""
    first, _, _ = await tell_everything(running)
    rows = await running.rows("SELECT manifest_key FROM checkpoints WHERE status = 'recorded'")
    digests = await running.rows("SELECT digest FROM checkpoint_artifacts WHERE checkpoint_id = 'cp-1'")
    await asyncio.to_thread(running.store.delete_document, rows[0]["manifest_key"])
    await asyncio.to_thread(running.store.delete_artifact, digests[0]["digest"])
    async with projections_of(tenant) as projections:
        found = [words async for words in projections.missing_in_store()]
    assert len(found) == 2
    assert "cp-1 is missing" in found[0]
    assert digests[0]["digest"] in found[1]
    assert first
