"""What the tests of the bus share: a connected tenant and small events."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from milepost_contracts.envelope import Envelope
from milepost_contracts.events import CancelRequested, Claimed, Completed, Event, Progress, Requested
from milepost_contracts.examples import EVENT_EXAMPLES
from milepost_contracts.messages import envelop_event
from milepost_contracts.upcasting import decode_event
from milepost_runtime.bus.connection import BusConnection, connect
from milepost_runtime.bus.jetstream import JetStream
from milepost_runtime.bus.topology import Topology, ensure_topology
from milepost_runtime.event_log import EventLog
from milepost_runtime.settings import BusSettings

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FLEET_TTL_SECONDS = 1.0


@dataclass
class Bus:
    """One connection to one tenant whose streams are there."""

    connection: BusConnection
    settings: BusSettings

    @property
    def topology(self) -> Topology:
        return Topology(self.settings)

    @property
    def jetstream(self) -> JetStream:
        return JetStream(self.connection, timeout_seconds=self.settings.request_timeout_seconds)


@asynccontextmanager
async def open_bus(settings: BusSettings, *, name: str = "test") -> AsyncIterator[Bus]:
    """Connect and make the topology, with a fleet whose workers vanish soon."""
    connection = await connect(settings, name=name)
    try:
        await ensure_topology(connection, settings, fleet_ttl_seconds=FLEET_TTL_SECONDS)
        yield Bus(connection, settings)
    finally:
        await connection.close()


@asynccontextmanager
async def reconnecting(connection: BusConnection, *, within_seconds: float = 30.0) -> AsyncIterator[None]:
    """Leave the block only once the connection has been lost and made anew."""
    back = asyncio.Event()
    forget = connection.on_reconnected(back.set)
    yield
    async with asyncio.timeout(within_seconds):
        await back.wait()
    forget()


def example(event: type[Event]) -> Event:
    """The example of an event's type."""
    return decode_event(EVENT_EXAMPLES[event.type_name()])


def progress(unit: int, **metrics: float) -> Progress:
    return Progress(attempt=1, unit=unit, total_units=1_000_000, metrics=metrics)


def envelope(event: Event, event_id: str, operation_id: str = "op-1", source: str = "/test") -> Envelope:
    return envelop_event(event, event_id=event_id, operation_id=operation_id, source=source, time=NOW)


async def append(
    log: EventLog, event: Event, event_id: str, *, expected: int, operation_id: str = "op-1"
) -> int:
    """Append one event and return its sequence."""
    return await log.append(envelope(event, event_id, operation_id), type(event), expected_sequence=expected)


async def append_many(log: EventLog, count: int, *, operation_id: str = "op-1", expected: int = 0) -> int:
    """Append progress of units 1 to ``count`` and return the last sequence."""
    for unit in range(1, count + 1):
        event_id = f"{operation_id}-p{unit}-{expected}"
        expected = await append(log, progress(unit), event_id, expected=expected, operation_id=operation_id)
    return expected


REQUESTED = example(Requested)
CLAIMED = example(Claimed)
COMPLETED = example(Completed)
CANCEL_REQUESTED = example(CancelRequested)
