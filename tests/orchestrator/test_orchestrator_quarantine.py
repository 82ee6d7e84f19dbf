"""Events that cannot be applied: they stop nothing, are kept, and are applied once that is possible."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from milepost_contracts import upcasting
from milepost_contracts.events import CheckpointRefused, Completed, Event
from milepost_contracts.messages import encode, envelop_event
from milepost_contracts.upcasting import UpcasterRegistry
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.database import create_engine, migrate
from milepost_orchestrator.adapters.digests import table_digests
from milepost_orchestrator.adapters.projection_store import PostgresProjectionStore
from milepost_orchestrator.application import quarantine as quarantine_module
from milepost_orchestrator.application.projections import project
from milepost_orchestrator.application.projector import Projector
from milepost_orchestrator.application.quarantine import Quarantine
from milepost_orchestrator.application.state_cache import StateCache
from milepost_runtime import stored_events
from milepost_runtime.bus import event_log as bus_event_log
from milepost_runtime.clock import random_id
from milepost_runtime.testing.event_log import MemoryEventLog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.orchestrator.running import WAIT_SECONDS, Running, settings_of
from tests.orchestrator.stories import (
    EPOCH,
    claimed,
    completed,
    log_entries,
    progress,
    recorded_checkpoint,
    requested,
    snapshot,
    started,
)
from tests.orchestrator.test_orchestrator_projection import rebuilt_digests
from tests.support.log_lines import log_lines

pytestmark = pytest.mark.integration
NEWER = "milepost.operation.completed.v9"


async def put_raw(running: Running, operation_id: str, tail: str, payload: bytes) -> int:
    """Publish bytes under an event's subject, as a writer that does not keep to the contract would."""
    subject = f"{running.orchestrator.settings.bus.prefix}.event.{operation_id}.{tail}"
    answer = await running.orchestrator.connection.jetstream().publish(subject, payload)
    return answer.seq


def newer(operation_id: str, event: Event) -> bytes:
    """The event as a later version would write it."""
    envelope = envelop_event(
        event, event_id=random_id("ev"), operation_id=operation_id, source="/worker/w-1", time=EPOCH
    )
    data = dict(envelope.data)
    data["outcome"] = data.pop("summary")
    return encode(envelope.model_copy(update={"type": NEWER, "data": data}))


async def quarantined(running: Running) -> list[tuple[int, str, str]]:
    rows = await running.rows("SELECT sequence, name, error FROM quarantine ORDER BY sequence")
    return [(row["sequence"], row["name"], row["error"]) for row in rows]


async def test_bytes_that_mean_nothing_are_set_aside_and_the_others_go_on(running: Running) -> None:
    """The projector, the operation and all others live on; the bytes are kept as they came, with the reason."""
    operation_id = await running.start()
    first = await put_raw(running, operation_id, "run.progress", b"\xff\x00 nothing")
    second = await put_raw(running, operation_id, "control.later", b'{"id": 1}')
    third = await put_raw(running, "op-stray", "elsewhere.x.y", b"[]")
    await running.happen(operation_id, claimed(), started())
    found = await quarantined(running)
    assert [(sequence, name) for sequence, name, _ in found] == [
        (first, "progress"),
        (second, "later"),
        (third, "x.y"),
    ]
    rows = await running.rows("SELECT payload, operation_id FROM quarantine ORDER BY sequence")
    assert bytes(rows[0]["payload"]) == b"\xff\x00 nothing"
    (row,) = await running.rows("SELECT status FROM operations")
    assert row["status"] == "running"


async def test_event_of_a_newer_version_is_applied_once_it_can_be_read(
    running: Running, tenant: StackEndpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the upgrade that brings an upcaster the rows are as if the event had always been readable."""
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), started(), progress(50))
    sequence = await put_raw(running, operation_id, "run.completed", newer(operation_id, completed()))
    assert [(row[0], row[1]) for row in await quarantined(running)] == [(sequence, "completed")]
    (before,) = await running.rows("SELECT status, unit FROM operations")
    assert before == {"status": "running", "unit": 50}
    store = running.orchestrator.projector._store
    (still,) = await Quarantine(running.event_log, store).retry()
    assert (still.applied, still.refused) == ((), (sequence,))

    registry = UpcasterRegistry()
    registry.register(NEWER, Completed.type_name(), lambda data: {
        **{key: value for key, value in data.items() if key != "outcome"}, "summary": data["outcome"]
    })  # fmt: skip
    for module in (stored_events, bus_event_log):
        monkeypatch.setattr(
            module, "decode_event", lambda envelope: upcasting.decode_event(envelope, registry)
        )
    (done,) = await Quarantine(running.event_log, store).retry()
    assert (done.applied, done.refused) == ((sequence,), ())
    assert await quarantined(running) == []
    (after,) = await running.rows("SELECT status, unit, summary FROM operations")
    assert after == {"status": "completed", "unit": 100, "summary": {"value": 1}}
    # The projector that lives has forgotten what it knew, and goes on from the new state.
    last = await running.happen(operation_id, recorded_checkpoint("cp-none"))
    (row,) = await running.rows("SELECT status, sequence FROM operations")
    assert row == {"status": "completed", "sequence": last}
    assert await rebuilt_digests(tenant, running, "rebuilt", 1000) == await table_digests(
        running.orchestrator.engine
    )


async def test_start_tries_no_more_than_it_may_and_tells_what_is_left(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start takes some operations, from another id on and round; a person's retry takes all, page by page."""
    for operation_id in ("op-c", "op-a", "op-b"):
        await put_raw(running, operation_id, "run.progress", b"nothing")
        await put_raw(running, operation_id, "run.progress", b"nothing")
    await running.projected()
    store = running.orchestrator.projector._store
    quarantine = Quarantine(running.event_log, store)
    told = log_lines(monkeypatch, quarantine_module)
    tried = [
        [each.operation_id for each in await quarantine.retry_some(begin_after, 2)]
        for begin_after in ("", "op-a", "op-b", "op-z")
    ]
    assert tried == [["op-a", "op-b"], ["op-b", "op-c"], ["op-c", "op-a"], ["op-a", "op-b"]]
    assert told[0] == {
        "event": "quarantine tried again",
        "log_level": "info",
        "operations": 2,
        "applied": 0,
        "refused": 4,
        "operations_left": 1,
    }
    monkeypatch.setattr(quarantine_module, "PAGE", 1)
    assert [each.operation_id for each in await quarantine.retry()] == ["op-a", "op-b", "op-c"]
    assert [len(each.refused) for each in await quarantine.retry("op-b")] == [2]
    assert await quarantine.retry("op-unknown") == []


@pytest.mark.parametrize("entries_max", [1, 4, 1000])
async def test_values_that_no_column_holds_are_set_aside_the_same_in_every_rebuild(
    running: Running, tenant: StackEndpoints, entries_max: int
) -> None:
    """Too large numbers and names set aside their own event, whatever the batches; the rest is told."""
    operation_id, other = await running.start(), await running.start()
    huge = progress(3).model_copy(update={"unit": 2**70})
    many = progress(4).model_copy(update={"metrics": {"x" * 3000: 1.0}})
    pid = claimed().model_copy(update={"pid": 2**65})
    await running.happen(operation_id, pid, claimed(), started(), huge, many, progress(5), snapshot())
    await running.happen(other, claimed(), started(), completed())
    names = [name for _, name, _ in await quarantined(running)]
    assert names == ["claimed", "progress", "progress"]
    await running.until(operation_id, CheckpointRefused)  # its file is not in the store
    await running.projected()
    live = await table_digests(running.orchestrator.engine)
    assert await rebuilt_digests(tenant, running, "rebuilt", entries_max) == live
    rows = await running.rows("SELECT status, unit FROM operations ORDER BY requested_sequence")
    assert rows == [{"status": "running", "unit": 50}, {"status": "completed", "unit": 100}]


async def test_row_that_postgres_refuses_is_found_by_taking_the_batch_apart(tenant: StackEndpoints) -> None:
    """A text that Postgres does not take sets its own event aside and none of its neighbours, in any batches."""
    log = MemoryEventLog()
    nul = recorded_checkpoint("cp-2").model_copy(update={"manifest_key": "a\x00b"})
    first, second = "op-aaaaaaaaaaaaaaaa", "op-bbbbbbbbbbbbbbbb"
    for operation_id, event in [
        (first, requested()),
        (second, requested(second)),
        (first, claimed()),
        (first, snapshot("cp-1", 10)),
        (first, snapshot("cp-2", 20)),
        (first, recorded_checkpoint("cp-1")),
        (first, nul),
        (second, claimed()),
        (first, progress(30)),
        (first, completed()),
    ]:
        envelope = envelop_event(
            event, event_id=random_id("ev"), operation_id=operation_id, source="/test", time=EPOCH
        )
        expected = await log.last_sequence(operation_id, event.SIDE)
        await log.append(envelope, type(event), expected_sequence=expected)
    digests = []
    for entries_max in (1, 3, 1000):
        async with projected(log, tenant, f"batch_{entries_max}", entries_max) as engine:
            digests.append(await table_digests(engine))
            async with engine.connect() as connection:
                aside = (await connection.execute(text("SELECT sequence, error FROM quarantine"))).all()
                states = (await connection.execute(text("SELECT status FROM operations ORDER BY 1"))).all()
                kept = (await connection.execute(text("SELECT status FROM checkpoints ORDER BY 1"))).all()
    assert [row.sequence for row in aside] == [7]
    assert "0x00" in aside[0].error
    assert [row.status for row in states] == ["completed", "running"]
    assert [row.status for row in kept] == ["recorded", "saved"]
    assert digests[0] == digests[1] == digests[2]


@asynccontextmanager
async def projected(
    log: MemoryEventLog, tenant: StackEndpoints, schema: str, entries_max: int
) -> AsyncIterator[AsyncEngine]:
    """A schema into which the whole log was projected, in batches of that size."""
    settings = settings_of(tenant, schema=schema).database
    engine = create_engine(settings)
    try:
        await migrate(engine, settings)
        projector = Projector(log, PostgresProjectionStore(engine), batch_entries_max=entries_max)
        projecting = asyncio.create_task(projector.run())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await projector.reached(len(log.entries))
        finally:
            projecting.cancel()
            await asyncio.wait({projecting})
        yield engine
    finally:
        await engine.dispose()


async def test_bug_in_a_fold_sets_one_event_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong with one event is its own trouble."""
    from milepost_orchestrator.application import projections

    real = projections.evolve

    def evolve(state, entry):
        if entry.sequence == 3:
            raise ZeroDivisionError("a bug")
        return real(state, entry)

    monkeypatch.setattr(projections, "evolve", evolve)
    changes = project(StateCache(), log_entries(requested(), claimed(), started(), progress(5)))
    assert [(row.sequence, row.error) for row in changes.quarantine] == [(3, "ZeroDivisionError: a bug")]
    (row,) = changes.operations
    assert (row.status, row.unit) == ("running", 5)
