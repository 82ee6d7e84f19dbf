"""What tests of whole operations share: ask for work, wait for events, judge the log."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from milepost_contracts.commands import CancelOperation, ResumeOperation, RunOptions, StartOperation
from milepost_contracts.events import (
    TERMINAL_EVENTS,
    AttemptLost,
    Claimed,
    Event,
    Progress,
    Released,
    Side,
    StateSnapshot,
)
from milepost_contracts.kinds import KindDescription
from milepost_contracts.model import JsonObject
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.bus.connection import BusConnection, connect
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.bus.fleet import NatsKindCatalogue
from milepost_runtime.bus.topology import Topology, ensure_topology
from milepost_runtime.client import MilepostClient
from milepost_runtime.clock import SystemClock
from milepost_runtime.event_log import LogEntry
from milepost_runtime.store.s3 import S3ArtifactStore

from tests.support.services import Service, Services

WAIT_SECONDS = 120.0


@dataclass
class Harness:
    """One tenant with its services, a client and the log."""

    services: Services
    client: MilepostClient
    event_log: JetStreamEventLog
    store: S3ArtifactStore
    connection: BusConnection

    async def announced(self, kind: str) -> KindDescription:
        """Wait until a worker has announced the kind: its first child describes it, which takes a moment."""
        bus = self.services.endpoints.bus
        news = await self.connection.subscribe(f"$KV.{Topology(bus).kinds}.{kind}")
        try:
            catalogue = NatsKindCatalogue(self.connection, bus)
            found = await catalogue.describe(kind)
            if found is None:
                await news.next_msg(timeout=WAIT_SECONDS)
            # The message is here before JetStream has stored it.
            async with asyncio.timeout(WAIT_SECONDS):
                while found is None:
                    found = await catalogue.describe(kind)
            return found
        finally:
            await news.unsubscribe()

    async def start(
        self, kind: str, spec: JsonObject, *, command_id: str | None = None, **options: object
    ) -> str:
        """Start an operation and return its id; once its kind is announced, where a worker was started."""
        if kind in self.services.kinds:
            await self.announced(kind)
        command = StartOperation(kind=kind, spec=spec, options=RunOptions.model_validate(options))
        return accepted(await self.client.request(command, command_id=command_id))

    async def cancel(self, operation_id: str, **fields: object) -> None:
        accepted(await self.client.request(CancelOperation(operation_id=operation_id, **fields)))

    async def resume(self, operation_id: str, **fields: object) -> str:
        """Resume and return the child's id."""
        return accepted(await self.client.request(ResumeOperation(operation_id=operation_id, **fields)))

    async def until(
        self, operation_id: str, happened: Callable[[Event], bool], *, after_sequence: int = 0
    ) -> LogEntry:
        """Wait for the first event for which ``happened`` is true."""
        async with asyncio.timeout(WAIT_SECONDS):
            async for entry in self.event_log.tail(after_sequence=after_sequence, operation_id=operation_id):
                if happened(entry.event):
                    return entry
        raise AssertionError("the tail ended")

    async def until_unit(self, operation_id: str, unit: int) -> LogEntry:
        """Wait until the operation has done ``unit`` units."""
        return await self.until(
            operation_id, lambda event: isinstance(event, Progress) and event.unit >= unit
        )

    async def end(self, operation_id: str) -> Event:
        """Wait for the terminal event."""
        return (await self.until(operation_id, lambda event: isinstance(event, TERMINAL_EVENTS))).event

    async def log(self, operation_id: str) -> list[LogEntry]:
        """All events of the operation, checked for soundness."""
        entries = await self.event_log.read_operation(operation_id)
        assert_sound(entries)
        return entries

    async def events(self, operation_id: str, *types: type[Event]) -> list[Event]:
        """The operation's events of some types."""
        return [entry.event for entry in await self.log(operation_id) if isinstance(entry.event, types)]


@asynccontextmanager
async def open_harness(endpoints: StackEndpoints, directory: Path) -> AsyncIterator[Harness]:
    """Connect to a tenant whose services the test starts itself."""
    connection = await connect(endpoints.bus, name="test")
    try:
        await ensure_topology(connection, endpoints.bus)
        async with Services(endpoints, directory) as services:
            yield Harness(
                services=services,
                client=MilepostClient(connection, endpoints.bus, SystemClock(), source="/test"),
                event_log=JetStreamEventLog(connection, endpoints.bus),
                store=S3ArtifactStore(endpoints.store),
                connection=connection,
            )
    finally:
        await connection.close()


def accepted(verdict: Accepted | Duplicate | Rejected) -> str:
    """Return the operation's id of an accepted command; fail with the reason of any other verdict."""
    assert isinstance(verdict, Accepted), verdict
    return verdict.operation_id


def child_pid(service: Service) -> int:
    """The process that computes a worker's newest attempt, as the worker's own log says."""
    pids = [line["pid"] for line in service.log_lines() if line["event"] == "computing"]
    assert pids, "the worker computes nothing"
    return pids[-1]


def assert_sound(entries: list[LogEntry]) -> None:
    """Invariants I2, I3, I5 and I11 over one operation's events."""
    terminal = [entry for entry in entries if isinstance(entry.event, TERMINAL_EVENTS)]
    assert len(terminal) <= 1, "more than one terminal event"
    run = [entry for entry in entries if entry.event.SIDE is Side.RUN]
    if terminal:
        assert run[-1] is terminal[0], "a run event after the terminal one"
    attempt, unit, ended = 0, 0, True
    for entry in run:
        event = entry.event
        if isinstance(event, Claimed):
            assert event.attempt == attempt + 1, "attempts are numbered without gaps"
            attempt, unit, ended = event.attempt, 0, False
            continue
        assert event.attempt == attempt, f"{event.NAME} of attempt {event.attempt} during {attempt}"
        assert not ended or isinstance(event, TERMINAL_EVENTS), f"{event.NAME} after the attempt's end"
        ended = ended or isinstance(event, AttemptLost | Released)
        if isinstance(event, Progress):
            assert event.unit >= unit, "progress went backwards within an attempt"
            unit = event.unit


def snapshots(events: list[Event]) -> list[StateSnapshot]:
    """The checkpoints among events."""
    return [event for event in events if isinstance(event, StateSnapshot)]
