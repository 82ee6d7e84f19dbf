"""A broker killed before it wrote down to whom it gave work: it gives the work out as if for the first time.

A consumer's state lies on disk up to a tenth of a second late; here it is put back to what it was before the work
was given out, so that each run loses the same. What must hold: one effective owner, and nobody is stuck.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from milepost_contracts.events import Claimed
from milepost_infra.embedded.stack import EmbeddedStack
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.bus.signals import NatsSignals
from milepost_runtime.bus.work_consumer import ensure_work_consumer
from milepost_runtime.bus.work_queue import JetStreamWorkItem, JetStreamWorkQueue
from milepost_runtime.clock import SystemClock
from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.signals import Owner
from milepost_runtime.work_queue import WorkKey
from milepost_runtime.worker.claims import ClaimedOperation, Claimer
from milepost_runtime.worker.run_log import FencedError
from milepost_runtime.worker.settings import WorkerSettings

from tests.runtime_bus.bus_support import COMPLETED, REQUESTED, Bus, append, open_bus, progress, reconnecting

pytestmark = pytest.mark.integration

KEY = WorkKey("training", "default", "op-1")
LEASE_SECONDS = 1.0
WAIT_SECONDS = 15.0


@pytest.fixture
async def bus(broker: EmbeddedStack) -> AsyncIterator[Bus]:
    """A bus with one piece of work that nobody was given yet."""
    async with open_bus(broker.endpoints().bus) as opened:
        await ensure_work_consumer(opened.connection, opened.settings, KEY.kind, lease_seconds=LEASE_SECONDS)
        await append(JetStreamEventLog(opened.connection, opened.settings), REQUESTED, "e1", expected=0)
        await JetStreamWorkQueue(opened.connection, opened.settings).dispatch(KEY)
        yield opened


@asynccontextmanager
async def forgotten(broker: EmbeddedStack, bus: Bus) -> AsyncIterator[None]:
    """Leave the block with a broker that was killed and has forgotten what it gave out within the block."""
    (stream,) = broker.directory.rglob(f"streams/{bus.topology.work}")
    consumer = stream / "obs" / bus.topology.work_consumer(KEY.kind)
    before = broker.directory / "before"
    shutil.copytree(consumer, before)
    yield
    async with reconnecting(bus.connection):
        await broker.kill("nats")
        shutil.rmtree(consumer)
        shutil.copytree(before, consumer)
        await broker.restart("nats")


async def fetched(bus: Bus) -> JetStreamWorkItem:
    queue = JetStreamWorkQueue(bus.connection, bus.settings)
    item = await queue.fetch(KEY.kind, timeout_seconds=WAIT_SECONDS)
    assert item is not None, "no work"
    return item


async def claim(bus: Bus, worker_id: str, item: JetStreamWorkItem) -> ClaimedOperation | None:
    claimer = Claimer(
        JetStreamEventLog(bus.connection, bus.settings),
        NatsSignals(bus.connection, bus.settings),
        SystemClock(),
        WorkerSettings(worker_id, KEY.kind, Path("unused"), lease_seconds=LEASE_SECONDS),
        instance_id=worker_id,
    )
    return await claimer.claim(item)


async def test_an_owner_whose_lease_was_forgotten_stays_the_owner_as_long_as_it_answers(
    broker: EmbeddedStack, bus: Bus
) -> None:
    """The work is given out again, and given back; once the owner is silent another claims, and it is fenced."""
    async with forgotten(broker, bus):
        first = await claim(bus, "w-1", await fetched(bus))
        assert first is not None
        served = await NatsSignals(bus.connection, bus.settings).serve(Owner("w-1", 1), "op-1", _nothing)
    again = await fetched(bus)
    assert again.deliveries == 1, "the broker has not forgotten"
    assert await claim(bus, "w-2", again) is None
    await first.run_log.append(progress(10))
    await first.item.renew()
    await served.close()

    second = await claim(bus, "w-2", await fetched(bus))
    assert second is not None
    with pytest.raises(FencedError):
        await first.run_log.append(COMPLETED)
    await second.run_log.append(COMPLETED.model_copy(update={"attempt": 2}))
    await second.item.done()
    assert not await JetStreamWorkQueue(bus.connection, bus.settings).contains(KEY)
    entries = await JetStreamEventLog(bus.connection, bus.settings).read_operation("op-1")
    owners = [entry.event.worker_id for entry in entries if isinstance(entry.event, Claimed)]
    assert owners == ["w-1", "w-2"]


async def test_an_end_whose_lease_was_forgotten_is_found_by_whoever_gets_the_work_again(
    broker: EmbeddedStack, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker does not answer the owner's last word; the work comes again, is not run again, and goes."""
    monkeypatch.setattr("milepost_runtime.bus.work_queue.PATIENCE_SECONDS", 0.5)
    async with forgotten(broker, bus):
        first = await claim(bus, "w-1", await fetched(bus))
        assert first is not None
    await first.run_log.append(COMPLETED)
    with pytest.raises(BusUnavailableError):
        await first.item.done()
    assert await claim(bus, "w-2", await fetched(bus)) is None
    assert not await JetStreamWorkQueue(bus.connection, bus.settings).contains(KEY)
    entries = await JetStreamEventLog(bus.connection, bus.settings).read_operation("op-1")
    assert [entry.event.NAME for entry in entries] == ["requested", "claimed", "completed"]


async def _nothing() -> None: ...
