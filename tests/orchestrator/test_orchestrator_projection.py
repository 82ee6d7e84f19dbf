"""The read models on real Postgres: complete, exactly once, and the same however they came about."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from milepost_contracts.artifacts import manifest_key
from milepost_contracts.checkpoints import Manifest
from milepost_contracts.commands import CancelOperation
from milepost_contracts.events import (
    EVENTS,
    Archived,
    CheckpointContinued,
    CheckpointDeleted,
    CheckpointPinned,
    CheckpointRecorded,
    CheckpointRefused,
    CheckpointRequested,
    CheckpointUnpinned,
    Prioritized,
    Progress,
    Requested,
)
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.database import create_engine, migrate, migrations, newest_version
from milepost_orchestrator.adapters.digests import table_digests
from milepost_orchestrator.adapters.projection_store import PostgresProjectionStore
from milepost_orchestrator.application.errors import CursorMovedError
from milepost_orchestrator.application.projections import project
from milepost_orchestrator.application.projector import Projector
from milepost_orchestrator.application.state_cache import StateCache
from milepost_runtime.digests import digest_of_bytes
from sqlalchemy import Connection, text

from tests.orchestrator.running import WAIT_SECONDS, Running, run_orchestrator, settings_of
from tests.orchestrator.stories import (
    artifact,
    attempt_lost,
    cancel_requested,
    cancelled,
    claimed,
    completed,
    failed,
    log_entries,
    progress,
    released,
    requested,
    snapshot,
    started,
)

pytestmark = pytest.mark.integration


async def tell_everything(running: Running) -> tuple[str, str, str]:
    """Let every type of event happen; return a cancelled operation, its completed child and a failed one."""
    await running.keep_state()
    first = await running.start(name="all")
    saved = await running.happen(
        first, claimed(), started(), progress(10), progress(50), snapshot("cp-1", 50), released(unit=60)
    )
    await running.until(first, CheckpointRecorded, after_sequence=saved - 1)
    lost = (artifact(b"gone"),)
    moved = started(2, 50, ("numpy was '1' and is '2'",))
    await running.happen(first, claimed(2, "w-2"), moved)
    await running.happen(
        first,
        CheckpointRequested(requested_by="/test"),
        Prioritized(priority=5, before=0, requested_by="/test"),
        CheckpointPinned(checkpoint_id="cp-1", requested_by="/test"),
    )
    await running.happen(first, attempt_lost(2), claimed(3))
    saved = await running.happen(first, snapshot("cp-2", 70, 3, reason="cancellation", artifacts=lost))
    await running.until(first, CheckpointRefused, after_sequence=saved)
    await running.client.request(CancelOperation(operation_id=first))
    await running.happen(first, cancelled(3, 70))
    child = (await running.resume(first)).operation_id
    await running.until(child, Requested)
    await running.happen(child, claimed(), started(unit=50), completed())
    other = await running.start()
    await running.happen(other, claimed(), started(), snapshot("cp-3", 5), failed())
    await running.until(other, CheckpointRecorded)
    about = {"checkpoint_id": "cp-3", "requested_by": "/test"}
    pinned, unpinned = CheckpointPinned.model_validate(about), CheckpointUnpinned.model_validate(about)
    continued = CheckpointContinued(checkpoint_id="cp-3", parent_id=child, child_id="op-never")
    await running.happen(other, pinned, unpinned, continued, CheckpointDeleted.model_validate(about))
    return first, child, other


async def test_every_event_type_is_in_the_read_models_and_the_store(running: Running) -> None:
    """Each type of event is seen in Postgres, and the recorded checkpoint's manifest in the store."""
    first, child, other = await tell_everything(running)

    names = {row["name"] for row in await running.rows("SELECT DISTINCT name FROM operation_events")}
    assert names == {event.NAME for event in EVENTS.values()} - {Progress.NAME, Archived.NAME}
    operations = {row["operation_id"]: row for row in await running.rows("SELECT * FROM operations")}
    assert operations[first]["status"] == "cancelled"
    assert operations[first]["name"] == "all"
    assert (operations[first]["attempt"], operations[first]["unit"]) == (3, 70)
    assert operations[first]["checkpoint_id"] == "cp-1"
    assert operations[first]["child_id"] == child
    assert operations[child]["status"] == "completed"
    assert operations[child]["parent_id"] == first
    assert operations[child]["origin_checkpoint_id"] == "cp-1"
    assert operations[child]["results"][0]["name"] == "value.json"
    assert operations[other]["status"] == "failed"
    assert operations[other]["failure"]["message"] == "it stumbled"

    attempts = await running.rows(
        "SELECT attempt, outcome, worker_id, start_unit, environment_differences FROM attempts "
        "WHERE operation_id = :id ORDER BY attempt",
        id=first,
    )
    assert [tuple(row.values()) for row in attempts] == [
        (1, "released", "w-1", 0, []),
        (2, "lost", "w-2", 50, ["numpy was '1' and is '2'"]),
        (3, "cancelled", "w-1", None, []),
    ]
    metrics = await running.rows("SELECT name, unit, value FROM metrics ORDER BY sequence")
    assert [tuple(row.values()) for row in metrics] == [("loss", 10, 5.0), ("loss", 50, 25.0)]
    checkpoints = {row["checkpoint_id"]: row for row in await running.rows("SELECT * FROM checkpoints")}
    assert {key: row["status"] for key, row in checkpoints.items()} == {"cp-1": "recorded", "cp-2": "refused"}
    assert {key: row["pinned"] for key, row in checkpoints.items()} == {"cp-1": True, "cp-2": False}
    assert checkpoints["cp-2"]["problems"] == [{"field": "state.json", "message": "missing in the store"}]
    artifacts = await running.rows("SELECT digest FROM checkpoint_artifacts WHERE checkpoint_id = 'cp-1'")
    assert artifacts == [{"digest": artifact().digest}]

    content = await asyncio.to_thread(running.store.get_document, manifest_key(first, "cp-1"))
    manifest = Manifest.model_validate_json(content)
    assert manifest.artifacts == (artifact(),)
    assert checkpoints["cp-1"]["manifest_digest"] == digest_of_bytes(content)
    assert await asyncio.to_thread(running.store.get_document, manifest_key(first, "cp-2")) is None


async def rebuilt_digests(tenant: StackEndpoints, running: Running, schema: str, entries_max: int) -> dict:
    """Project the whole log into a schema of its own and return the digests of its tables."""
    settings = settings_of(tenant, schema=schema).database
    engine = create_engine(settings)
    try:
        await migrate(engine, settings)
        projector = Projector(
            running.event_log, PostgresProjectionStore(engine), batch_entries_max=entries_max
        )
        projecting = asyncio.create_task(projector.run())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await projector.reached(await running.projected())
        finally:
            projecting.cancel()
            await asyncio.wait({projecting})
        return await table_digests(engine)
    finally:
        await engine.dispose()


@pytest.mark.parametrize("entries_max", [1, 7, 1000])
async def test_rebuild_equals_live(running: Running, tenant: StackEndpoints, entries_max: int) -> None:
    """Projecting the log anew, in batches of any size, gives the same rows as projecting it as it grew."""
    await tell_everything(running)
    await running.projected()

    live = await table_digests(running.orchestrator.engine)

    assert await rebuilt_digests(tenant, running, "rebuilt", entries_max) == live
    assert live["operations"] != live["attempts"]


async def test_two_projectors_and_a_third_that_starts_late_write_each_event_once(
    running: Running, tenant: StackEndpoints, tmp_path: Path
) -> None:
    """Two orchestrators project the same log into the same tables, one is stopped halfway: the rows are right."""
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), started())
    async with run_orchestrator(tenant, tmp_path) as second:
        for unit in range(1, 150):
            await running.happen(operation_id, progress(unit))
        await second.projected()
    async with run_orchestrator(tenant, tmp_path) as third:
        await running.keep_state()
        await running.happen(operation_id, progress(151), snapshot("cp-1", 151), completed())
        await running.until(operation_id, CheckpointRecorded)
        await third.projected()
        (counted,) = await running.rows("SELECT count(*) AS n, max(unit) AS last FROM metrics")
    assert counted == {"n": 150, "last": 151}
    live = await table_digests(running.orchestrator.engine)
    assert await rebuilt_digests(tenant, running, "rebuilt", 1000) == live


async def test_restart_goes_on_at_the_cursor(tenant: StackEndpoints, tmp_path: Path) -> None:
    """What happened while no orchestrator lived is projected by the next one, on top of what was there."""
    async with run_orchestrator(tenant, tmp_path) as first:
        operation_id = await first.start()
        await first.happen(operation_id, claimed(), started(), progress(30))
        await first.projected()
        event_log = first.event_log
        await first.happen(operation_id, progress(40))
    assert event_log is not None
    async with run_orchestrator(tenant, tmp_path) as second:
        await second.happen(operation_id, completed())
        (row,) = await second.rows("SELECT status, unit, total_units, attempt FROM operations")
        live = await table_digests(second.orchestrator.engine)
        assert await rebuilt_digests(tenant, second, "rebuilt", 1000) == live
    assert tuple(row.values()) == ("completed", 100, 100, 1)


async def test_emptied_database_is_filled_again(running: Running) -> None:
    """A cursor that went back is noticed with the next event, and everything is projected from there."""
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), started(), progress(30))
    await running.projected()
    async with running.orchestrator.engine.begin() as connection:
        for table in ("operations", "attempts", "metrics", "operation_events"):
            await connection.execute(text(f"DELETE FROM {table}"))
        await connection.execute(text("UPDATE projection_cursor SET sequence = 0"))

    sequence = await running.happen(operation_id, completed())

    found: list[dict] = []
    async with asyncio.timeout(WAIT_SECONDS):
        while not found or found[0]["sequence"] < sequence:
            found = await running.rows("SELECT * FROM projection_cursor")
    (row,) = await running.rows("SELECT status FROM operations")
    assert row["status"] == "completed"
    assert len(await running.rows("SELECT * FROM metrics")) == 1


async def test_batch_that_was_written_before_is_skipped(tenant: StackEndpoints) -> None:
    """The same batch, an overlapping one and one after a gap: skipped, completed, refused."""
    settings = settings_of(tenant).database
    engine = create_engine(settings)
    try:
        await migrate(engine, settings)
        store = PostgresProjectionStore(engine)
        entries = log_entries(requested(), claimed(), started(), progress(1), progress(2), completed())
        first = project(StateCache(), entries[:4])
        assert await store.apply(first, cursor_min=0) is True
        assert await store.apply(first, cursor_min=0) is False
        assert await store.apply(project(StateCache(), entries), cursor_min=0) is True
        assert await store.cursor() == 6
        with pytest.raises(CursorMovedError):
            await store.apply(replace(first, last_sequence=20), cursor_min=10)
        async with engine.connect() as connection:
            counted = await connection.execute(text("SELECT count(*) FROM metrics"))
            assert counted.scalar_one() == 2
    finally:
        await engine.dispose()


async def test_migrations_may_run_at_once(bare_tenant: StackEndpoints) -> None:
    """Several orchestrators that start together migrate once and all find the tables."""
    settings = settings_of(bare_tenant).database
    engines = [create_engine(settings) for _ in range(4)]
    try:
        await asyncio.gather(*(migrate(engine, settings) for engine in engines))
        async with engines[0].connect() as connection:
            assert (
                await connection.execute(text("SELECT count(*) FROM projection_cursor"))
            ).scalar_one() == 1
    finally:
        for engine in engines:
            await engine.dispose()


async def test_an_upgrade_fills_what_is_new_as_the_log_would(
    running: Running, tenant: StackEndpoints
) -> None:
    """Columns that a version adds hold after its migration what a projection of the same log puts there."""
    await tell_everything(running)
    alone = await running.start(name="only progress")
    await running.happen(alone, claimed(), started(), progress(7))
    await running.projected()
    projected = await table_digests(running.orchestrator.engine)
    settings = settings_of(tenant).database

    def down_and_up(connection: Connection) -> None:
        command.downgrade(migrations(connection, settings.schema), "0007")
        command.upgrade(migrations(connection, settings.schema), "head")

    engine = create_engine(settings)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(down_and_up)
        assert await table_digests(engine) == projected
    finally:
        await engine.dispose()


async def test_models_are_what_the_migrations_make(bare_tenant: StackEndpoints) -> None:
    """Alembic finds no difference between the migrated tables and the models, and its newest version is ours."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from milepost_orchestrator.adapters.models import Model

    settings = settings_of(bare_tenant).database
    engine = create_engine(settings)
    try:
        await migrate(engine, settings)
        async with engine.connect() as connection:
            differences = await connection.run_sync(
                lambda sync: compare_metadata(MigrationContext.configure(sync), Model.metadata)
            )
            version = await connection.run_sync(
                lambda sync: MigrationContext.configure(sync).get_current_revision()
            )
    finally:
        await engine.dispose()
    assert differences == []
    assert version == newest_version()


async def test_text_that_postgres_refuses_is_projected_all_the_same(running: Running) -> None:
    """NUL characters, NaN and infinities in what workers say do not stop the projector."""
    operation_id = await running.start(name="a\x00b")
    odd = progress(1).model_copy(update={"metrics": {"loss\x00": float("nan"), "gain": float("inf")}})
    end = completed().model_copy(update={"summary": {"words\x00": "x\x00y", "ratio": "NaN"}})
    await running.happen(operation_id, claimed(), started(), odd, end)
    (row,) = await running.rows("SELECT name, status, summary FROM operations")
    assert row["status"] == "completed"
    assert row["name"] == "a\ufffdb"
    assert row["summary"]["words\ufffd"] == "x\ufffdy"
    assert len(await running.rows("SELECT * FROM metrics")) == 2


async def test_cancel_request_is_projected_before_anything_runs(running: Running) -> None:
    """A cancel with a unit shows as cancelling with that unit."""
    operation_id = await running.start()
    await running.happen(operation_id, cancel_requested(70))
    (row,) = await running.rows("SELECT status, stop_at_unit, reason FROM operations")
    assert tuple(row.values()) == ("cancelling", 70, "enough")
