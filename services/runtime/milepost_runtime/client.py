"""What other programs use: send commands, hear verdicts, follow operations.

A request is repeated with the same command id until somebody answers, so it takes effect once; the answer to a
repeated one may be *duplicate*, which is the first one's success and is returned as it is.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import overload

from milepost_contracts.cleanup import CleanedUp, CleanUpCheckpoints
from milepost_contracts.commands import Command, DispatchCommand, OperationCommand, command_name
from milepost_contracts.dispatch import DispatchPolicy
from milepost_contracts.events import TERMINAL_EVENTS, Archived
from milepost_contracts.messages import encode, envelop_command
from milepost_contracts.schedules import ScheduleCommand
from milepost_contracts.subjects import Subjects
from milepost_contracts.verdicts import ANY_VERDICT, Accepted, Duplicate, Rejected
from pydantic import ValidationError

from milepost_runtime.bus.connection import FIRST_CONNECTION_SECONDS, BusConnection, connect
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.bus.jetstream import JetStream
from milepost_runtime.bus.pull import StreamReader
from milepost_runtime.bus.replies import NoAnswerError, NoAnswerReason
from milepost_runtime.bus.topology import Topology
from milepost_runtime.bus.work_consumer import recorded_policy
from milepost_runtime.clock import Clock, SystemClock, random_id
from milepost_runtime.errors import (
    ArchivedEndUnknownError,
    BusRefusedError,
    BusUnavailableError,
    OrchestratorUnavailableError,
)
from milepost_runtime.event_log import LogEntry
from milepost_runtime.history.archive import ended_as
from milepost_runtime.settings import BusSettings

REQUEST_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.1
PAUSE_SECONDS_MAX = 1.0


class MilepostClient:
    """Commands and events of one tenant."""

    def __init__(
        self, connection: BusConnection, settings: BusSettings, clock: Clock, source: str = "/client"
    ) -> None:
        self._connection = connection
        self._timeout_seconds = settings.request_timeout_seconds
        self._jetstream = JetStream(connection, timeout_seconds=self._timeout_seconds)
        self._subjects = Subjects(settings.prefix)
        self._topology = Topology(settings)
        self._clock = clock
        self._source = source
        self.event_log = JetStreamEventLog(connection, settings)
        """The log, to read from."""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        settings: BusSettings,
        *,
        source: str = "/client",
        patience_seconds: float = FIRST_CONNECTION_SECONDS,
    ) -> AsyncGenerator["MilepostClient"]:
        """Yield a connected client.

        Raises:
            BusUnavailableError: no server answered within ``patience_seconds``.
            BusPermissionError: the server refused the credentials.
        """
        connection = await connect(settings, name=source, patience_seconds=patience_seconds)
        try:
            yield cls(connection, settings, SystemClock(), source)
        finally:
            await connection.close()

    @overload
    async def request(
        self,
        command: OperationCommand | DispatchCommand | ScheduleCommand,
        *,
        command_id: str | None = None,
        timeout_seconds: float = REQUEST_SECONDS,
    ) -> Accepted | Duplicate | Rejected: ...

    @overload
    async def request(
        self,
        command: CleanUpCheckpoints,
        *,
        command_id: str | None = None,
        timeout_seconds: float = REQUEST_SECONDS,
    ) -> CleanedUp | Rejected: ...

    async def request(
        self,
        command: Command,
        *,
        command_id: str | None = None,
        timeout_seconds: float = REQUEST_SECONDS,
    ) -> Accepted | Duplicate | Rejected | CleanedUp:
        """Send a command and return the verdict; a refusal is a verdict, not an error.

        Raises:
            OrchestratorUnavailableError: no orchestrator answered within ``timeout_seconds``. The command may
                still take effect; asking again with the same ``command_id`` is safe.
            BusUnavailableError: the bus itself is away.
            BusPermissionError: this user may not give commands.
        """
        command_id = command_id or random_id("cmd")
        subject = self._subjects.request(command_name(command))
        payload = self._payload(command, command_id)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            patience = max(min(self._timeout_seconds, deadline - loop.time()), 0.001)
            try:
                answer = await self._connection.replies.ask(subject, payload, timeout_seconds=patience)
                return _verdict(answer.data)
            except NoAnswerError as error:
                if loop.time() + pause >= deadline or error.reason is NoAnswerReason.CLOSED:
                    raise self._unanswered(command_id, timeout_seconds, error) from error
            await asyncio.sleep(pause)  # "nobody listens" comes at once, and has no event to await
            pause = min(pause * 2, PAUSE_SECONDS_MAX)

    async def publish(self, command: Command, *, command_id: str | None = None) -> str:
        """Store a command for the orchestrator, wait for nobody, and return its id.

        Raises:
            BusUnavailableError: it may not have been stored; publishing again with the same id is safe.
            BusPermissionError: this user may not give commands.
        """
        command_id = command_id or random_id("cmd")
        await self._jetstream.publish(
            self._subjects.command(command_name(command)),
            self._payload(command, command_id),
            headers={"Nats-Msg-Id": command_id, "Nats-Expected-Stream": self._topology.commands},
        )
        return command_id

    async def verdict(
        self, command_id: str, timeout_seconds: float = REQUEST_SECONDS
    ) -> Accepted | Duplicate | Rejected | CleanedUp:
        """Return the first verdict on a published command, waiting for it; verdicts are kept for a day.

        Raises:
            OrchestratorUnavailableError: there was none within the time.
        """
        reader = StreamReader(
            self._connection,
            self._topology.verdicts,
            timeout_seconds=self._timeout_seconds,
            filters=[self._subjects.verdict(command_id)],
        )
        try:
            async with asyncio.timeout(timeout_seconds):
                (message,) = await reader.next_batch(1)
        except TimeoutError as error:
            raise OrchestratorUnavailableError(
                f"no verdict on {command_id} within {timeout_seconds:g} s"
            ) from error
        finally:
            await reader.close()
        return _verdict(message.data)

    async def follow(self, operation_id: str) -> AsyncGenerator[LogEntry]:
        """Yield every event of the operation from its first, and end after the terminal one.

        Of an archived operation there is the terminal one alone; or, without it, the event that it is archived.
        """
        async with aclosing(self.event_log.tail(operation_id=operation_id)) as entries:
            async for entry in entries:
                yield ended_as(entry) or entry
                if isinstance(entry.event, (*TERMINAL_EVENTS, Archived)):
                    return

    async def wait(self, operation_id: str) -> LogEntry:
        """Return the terminal event, waiting for it; only that is sent, however long the log is.

        Raises:
            ArchivedEndUnknownError: it is archived, and what is left in the log does not say how it ended.
        """
        only = (*TERMINAL_EVENTS, Archived)
        async with aclosing(self.event_log.tail(operation_id=operation_id, only=only)) as entries:
            entry = await anext(entries)
        if not isinstance(entry.event, Archived):
            return entry
        end = ended_as(entry)
        if end is None:
            raise ArchivedEndUnknownError(entry.event.history_key)
        return end

    async def dispatch(self) -> DispatchPolicy:
        """Return what is held back and limited: why something that was started may wait.

        Raises:
            BusUnavailableError: the bus is away.
        """
        return await recorded_policy(self._jetstream, self._topology)

    def _payload(self, command: Command, command_id: str) -> bytes:
        return encode(
            envelop_command(command, command_id=command_id, source=self._source, time=self._clock.now())
        )

    def _unanswered(self, command_id: str, seconds: float, error: NoAnswerError) -> BusUnavailableError:
        if not self._connection.is_connected:
            return BusUnavailableError(f"{self._connection.shown_url}: {error}")
        return OrchestratorUnavailableError(f"command {command_id}, within {seconds:g} s: {error}")


def _verdict(payload: bytes) -> Accepted | Duplicate | Rejected | CleanedUp:
    try:
        return ANY_VERDICT.validate_json(payload)
    except ValidationError as error:
        raise BusRefusedError(f"the answer is no verdict of this version: {error}") from error
