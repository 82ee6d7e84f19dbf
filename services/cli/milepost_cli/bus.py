"""The bus as the command line uses it: commands with their verdict, and the event log."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import cast

from milepost_contracts import events
from milepost_contracts.cleanup import CleanedUp, CleanUpCheckpoints
from milepost_contracts.commands import DispatchCommand, OperationCommand
from milepost_contracts.events import Side
from milepost_contracts.schedules import ScheduleCommand
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected
from milepost_runtime.bus.connection import BusConnection, connect
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.client import MilepostClient
from milepost_runtime.clock import SystemClock, random_id
from milepost_runtime.errors import BusUnavailableError, SettingsError
from milepost_runtime.event_log import EventLog, LogEntry, StoredEvent
from milepost_runtime.history.archive import HistoryArchive, ended_as
from milepost_runtime.history.archived_log import ArchivedEventLog
from milepost_runtime.store.s3 import S3ArtifactStore

from milepost_cli.errors import NotFoundError, UnreachableError, error_of_verdict
from milepost_cli.location import StackLocation
from milepost_cli.operation_view import OperationView, view_of_events
from milepost_cli.quiet import silence_logs

SOURCE = "/cli"
CONNECT_SECONDS = 4.0
VERDICT_SECONDS = 10.0
CLEANUP_SECONDS = 60.0
"""A step of a cleanup reads and writes many operations."""


@dataclass(frozen=True, slots=True)
class Bus:
    """One connection, open."""

    connection: BusConnection
    client: MilepostClient
    event_log: EventLog

    async def command(
        self, command: OperationCommand | DispatchCommand | ScheduleCommand, command_id: str | None = None
    ) -> Accepted | Duplicate:
        """Send a command and return the verdict.

        Raises:
            CommandError: it was rejected; the verdict's code, words, fix and problems are kept.
            UnreachableError: no verdict came in time.
        """
        command_id = command_id or random_id("cmd")
        with _unanswered(VERDICT_SECONDS, command_id):
            verdict = await self.client.request(
                command, command_id=command_id, timeout_seconds=VERDICT_SECONDS
            )
        if isinstance(verdict, Rejected):
            raise error_of_verdict(verdict)
        return verdict

    async def clean_up(self, command: CleanUpCheckpoints, command_id: str) -> CleanedUp:
        """Send one step of a cleanup and return what came of it; raises as ``command`` does."""
        with _unanswered(CLEANUP_SECONDS, command_id):
            verdict = await self.client.request(
                command, command_id=command_id, timeout_seconds=CLEANUP_SECONDS
            )
        if isinstance(verdict, Rejected):
            raise error_of_verdict(verdict)
        return verdict

    async def history(self, operation_id: str, *, progress: bool = True) -> list[LogEntry]:
        """Return an operation's events so far.

        Raises:
            NotFoundError: it has none, so there is no such operation.
        """
        without = () if progress else (events.Progress,)
        entries = await self.event_log.read_operation(operation_id, without=without)
        if not entries:
            raise no_operation(operation_id)
        return entries

    async def stored(self, operation_id: str) -> list[StoredEvent]:
        """Return an operation's events so far as they are stored, readable or not."""
        return [stored async for stored in self.event_log.stored(operation_id)]

    async def view(self, operation_id: str) -> OperationView:
        """Return an operation as its events tell it, newest state, cheap also after many progress events."""
        return view_of_events(operation_id, await self.history(operation_id, progress=False))

    async def completed(self, operation_id: str) -> events.Completed | None:
        """Return the event that ended the operation well, None when it has not."""
        without = (events.Progress, events.StateSnapshot)
        entries = await self.event_log.read_operation(operation_id, side=Side.RUN, without=without)
        found = (entry.event for entry in entries if isinstance(entry.event, events.Completed))
        return next(found, None)

    async def follow(self, operation_id: str) -> AsyncIterator[LogEntry]:
        """Yield an operation's events from its first on, up to the one that ends it."""
        tail = self.event_log.tail(operation_id=operation_id)
        async with aclosing(cast("AsyncGenerator[LogEntry]", tail)) as entries:
            async for entry in entries:
                yield ended_as(entry) or entry
                if isinstance(entry.event, (*events.TERMINAL_EVENTS, events.Archived)):
                    return


@contextmanager
def _unanswered(seconds: float, command_id: str) -> Generator[None]:
    try:
        yield
    except BusUnavailableError as error:
        raise UnreachableError(
            f"no orchestrator answered within {seconds:g} s",
            fix=f"see `milepost doctor`, then repeat with --command-id {command_id}, which is safe",
            code="no-verdict",
            details={"command_id": command_id},
        ) from error


def no_operation(operation_id: str) -> NotFoundError:
    """Return the error for an operation that nobody knows."""
    return NotFoundError(
        f"there is no operation {operation_id}",
        fix="`milepost ps --all` lists them",
        code="operation-not-found",
    )


def _event_log(location: StackLocation, event_log: JetStreamEventLog, resources: ExitStack) -> EventLog:
    """Archived operations are read from the store, where its settings are known; elsewhere they show one event."""
    try:
        settings = location.store()
    except SettingsError:
        return event_log
    store = S3ArtifactStore(settings)
    resources.callback(store.close)
    return ArchivedEventLog(event_log, HistoryArchive(store))


@asynccontextmanager
async def open_bus(location: StackLocation) -> AsyncGenerator[Bus]:
    """Yield the bus of a stack; the connection is closed at the end."""
    settings = location.bus()
    silence_logs()
    connection = await connect(settings, name="milepost command", patience_seconds=CONNECT_SECONDS)
    resources = ExitStack()
    try:
        client = MilepostClient(connection, settings, SystemClock(), SOURCE)
        yield Bus(connection, client, _event_log(location, client.event_log, resources))
    finally:
        resources.close()
        await connection.close()
