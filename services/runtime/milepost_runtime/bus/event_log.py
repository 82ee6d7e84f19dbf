"""The event log on JetStream: see ``milepost_runtime.event_log`` for its states, authority and failures.

An append carries a message id and the sequence it expects. The server checks the expectation first, so a retry
whose first try was stored is answered "wrong last sequence" and not "duplicate". The message that follows the
expected one then tells whose it is: ours, or another writer's who was first.
"""

import base64
from collections.abc import AsyncGenerator, Collection
from datetime import datetime

from milepost_contracts.envelope import Envelope
from milepost_contracts.errors import ContractError
from milepost_contracts.events import CONTROL_EVENTS, RUN_EVENTS, Archived, Event, Progress, Side
from milepost_contracts.messages import encode
from milepost_contracts.subjects import Subjects
from milepost_contracts.upcasting import decode_event
from pydantic import ValidationError

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import (
    MESSAGE_NOT_FOUND,
    PATIENCE_SECONDS,
    WRONG_LAST_SEQUENCE,
    WRONG_LAST_SEQUENCE_CONSTANT,
    JetStream,
    JsonMap,
)
from milepost_runtime.bus.moment import MomentReader
from milepost_runtime.bus.pull import StreamMessage, StreamReader
from milepost_runtime.bus.topology import Topology
from milepost_runtime.errors import BusRefusedError, EventDamagedError, SequenceConflictError
from milepost_runtime.event_log import BatchEntry, LogEntry, StoredEvent, UnreadableEntry
from milepost_runtime.progress_entries import progress_entry
from milepost_runtime.settings import BusSettings
from milepost_runtime.stored_events import read_entry, with_sequence

ENTRIES_MAX = 500
NEAR_MESSAGES = 2_000
"""So many are read of all operations before it is asked whether enough of them are wanted."""
NEIGHBOURS_MAX = 8
"""Messages read for each one that is wanted."""
_PROGRESS = f".{Progress.SIDE}.{Progress.NAME}"
_SIDES = frozenset(side.value for side in Side)


class JetStreamEventLog:
    """Implements ``EventLog``."""

    def __init__(
        self,
        connection: BusConnection,
        settings: BusSettings,
        *,
        append_patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._connection = connection
        self._timeout_seconds = settings.request_timeout_seconds
        self._jetstream = JetStream(connection, timeout_seconds=self._timeout_seconds)
        self._append_patience_seconds = append_patience_seconds
        self._subjects = Subjects(settings.prefix)
        self._stream = Topology(settings).events
        self._moments = MomentReader(
            self._jetstream, self._stream, lambda subjects: self._reader(filters=subjects)
        )

    async def append(self, envelope: Envelope, event: type[Event], *, expected_sequence: int) -> int:
        """Append one event; see the port."""
        side = self._subjects.events(envelope.subject, event.SIDE)
        headers = {
            "Nats-Msg-Id": envelope.id,
            "Nats-Expected-Last-Subject-Sequence": str(expected_sequence),
            "Nats-Expected-Last-Subject-Sequence-Subject": side,
        }
        try:
            answer = await self._jetstream.publish(
                self._subjects.event(envelope.subject, event),
                encode(envelope),
                headers=headers,
                patience_seconds=self._append_patience_seconds,
            )
        except BusRefusedError as error:
            if error.error_code not in (WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_CONSTANT):
                raise
            return await self._own_or_conflict(envelope, side, expected_sequence, error)
        return int(answer["seq"])

    async def read_operation(
        self, operation_id: str, *, side: Side | None = None, without: Collection[type[Event]] = ()
    ) -> list[LogEntry]:
        """Return one operation's events; see the port."""
        only = self._filters(operation_id, side, without) if without else None
        messages = await self._moments.read(self._subjects.events(operation_id, side), only)
        return [self._entry(message) for message in messages]

    async def last_sequence(self, operation_id: str, side: Side) -> int:
        """Return the newest sequence of one side; see the port. Answered by the stream's leader."""
        message = await self._get({"last_by_subj": self._subjects.events(operation_id, side)})
        return 0 if message is None else int(message["seq"])

    async def last_time(self, operation_id: str, side: Side) -> datetime | None:
        """Return when the newest event of that side was recorded, by the server's clock; see the port."""
        message = await self._get({"last_by_subj": self._subjects.events(operation_id, side)})
        return None if message is None else datetime.fromisoformat(str(message["time"]))

    async def read_range(
        self, first_sequence: int, last_sequence: int | None = None
    ) -> AsyncGenerator[LogEntry]:
        """Yield events of all operations to the end; see the port."""
        reader = self._reader(after_sequence=max(first_sequence - 1, 0))
        try:
            while batch := await reader.next_batch_to_end(ENTRIES_MAX):
                for message in batch:
                    if last_sequence is not None and message.sequence > last_sequence:
                        return
                    yield self._entry(message)
        finally:
            await reader.close()

    async def tail(
        self,
        *,
        after_sequence: int = 0,
        operation_id: str | None = None,
        only: Collection[type[Event]] = (),
    ) -> AsyncGenerator[LogEntry]:
        """Yield events and wait for more; see the port.

        ``only`` names the types wanted, applied by the server; all when empty.
        """
        filters: list[str] = []
        if only:
            filters = [self._subjects.events_of_type(event, operation_id or "*") for event in only]
        elif operation_id is not None:
            filters = [self._subjects.events(operation_id)]
        reader = self._reader(after_sequence=after_sequence, filters=filters)
        try:
            while True:
                for message in await reader.next_batch(ENTRIES_MAX):
                    yield self._entry(message)
        finally:
            await reader.close()

    async def tail_batches(
        self, *, after_sequence: int = 0, entries_max: int = ENTRIES_MAX
    ) -> AsyncGenerator[list[BatchEntry]]:
        """Yield what is there already, in batches; see the port."""
        reader = self._reader(after_sequence=after_sequence, buffer_messages=max(2 * entries_max, 2))
        try:
            while True:
                yield [self._read(message) for message in await reader.next_batch(entries_max)]
        finally:
            await reader.close()

    async def batches_to(
        self, last_sequence: int, *, after_sequence: int = 0, entries_max: int = ENTRIES_MAX
    ) -> AsyncGenerator[list[BatchEntry]]:
        """Yield batches and stop; see the port."""
        reader = self._reader(after_sequence=after_sequence, buffer_messages=max(2 * entries_max, 2))
        try:
            while batch := await reader.next_batch_to_end(entries_max):
                wanted = [message for message in batch if message.sequence <= last_sequence]
                if wanted:
                    yield [self._read(message) for message in wanted]
                if batch[-1].sequence >= last_sequence:
                    return
        finally:
            await reader.close()

    async def read_types(self, types: Collection[type[Event]]) -> AsyncGenerator[LogEntry]:
        """Yield the events of some types of all operations; see the port."""
        reader = self._reader(filters=[self._subjects.events_of_type(event, "*") for event in types])
        try:
            while batch := await reader.next_batch_to_end(ENTRIES_MAX):
                for message in batch:
                    yield self._entry(message)
        finally:
            await reader.close()

    async def newest_archived(self, operation_id: str) -> Archived | None:
        """Return the newest ``archived`` event of an operation; see the port. Answered by the stream's leader."""
        message = await self._get({"last_by_subj": self._subjects.event(operation_id, Archived)})
        if message is None:
            return None
        payload = base64.b64decode(message["data"])
        found = read_entry(
            StoredEvent(int(message["seq"]), operation_id, Archived.SIDE, Archived.NAME, payload)
        )
        event = found.event if isinstance(found, LogEntry) else None
        return event if isinstance(event, Archived) else None

    async def stored(self, operation_id: str, *, after_sequence: int = 0) -> AsyncGenerator[StoredEvent]:
        """Yield one operation's events as they are stored; see the port.

        A consumer with a filter first has the server count everything that it will give out, which in a long log
        takes some hundred milliseconds. So from the middle of an operation its neighbours are read too, and are
        passed over here, for as long as there are not too many of them.
        """
        filters = [self._subjects.events(operation_id)]
        if after_sequence:
            own, seen, found = filters[0].removesuffix(">"), 0, 0
            reader = self._reader(after_sequence=after_sequence)
            try:
                while seen < NEAR_MESSAGES or found * NEIGHBOURS_MAX >= seen:
                    batch = await reader.next_batch_to_end(ENTRIES_MAX)
                    if not batch:
                        return
                    for message in batch:
                        if message.subject.startswith(own):
                            found += 1
                            yield self._stored(message)
                    seen, after_sequence = seen + len(batch), batch[-1].sequence
            finally:
                await reader.close()
        reader = self._reader(after_sequence=after_sequence, filters=filters)
        try:
            while batch := await reader.next_batch_to_end(ENTRIES_MAX):
                for message in batch:
                    yield self._stored(message)
        finally:
            await reader.close()

    async def _own_or_conflict(
        self, envelope: Envelope, side: str, expected_sequence: int, error: BusRefusedError
    ) -> int:
        """Look at the message that took the place after the expected one."""
        message = await self._get({"seq": expected_sequence + 1, "next_by_subj": side})
        if message is not None and _header(message, "Nats-Msg-Id") == envelope.id:
            return int(message["seq"])
        raise SequenceConflictError(
            f"{envelope.subject}: {envelope.id} expected {expected_sequence}; {error.detail}"
        ) from error

    async def _get(self, request: JsonMap) -> JsonMap | None:
        try:
            answer = await self._jetstream.call(f"STREAM.MSG.GET.{self._stream}", request)
        except BusRefusedError as error:
            if error.error_code == MESSAGE_NOT_FOUND:
                return None
            raise
        return answer["message"]

    def _filters(self, operation_id: str, side: Side | None, without: Collection[type[Event]]) -> list[str]:
        return [
            self._subjects.events_of_type(event, operation_id)
            for event in (*CONTROL_EVENTS, *RUN_EVENTS)
            if event not in without and side in (None, event.SIDE)
        ]

    def _reader(
        self,
        *,
        after_sequence: int = 0,
        filters: Collection[str] = (),
        buffer_messages: int = 2 * ENTRIES_MAX,
    ) -> StreamReader:
        return StreamReader(
            self._connection,
            self._stream,
            timeout_seconds=self._timeout_seconds,
            filters=list(filters),
            after_sequence=after_sequence,
            buffer_messages=buffer_messages,
        )

    def _entry(self, message: StreamMessage) -> LogEntry:
        try:
            envelope = Envelope.model_validate_json(with_sequence(message.data, message.sequence))
            # The subject is what was fenced, so it decides whose event this is. It matched our stream's filter;
            # parsing it in full would cost as much as decoding the event.
            operation_id = message.subject.split(".", 3)[2]
            return LogEntry(message.sequence, operation_id, envelope, decode_event(envelope))
        except (ValidationError, ContractError) as error:
            raise EventDamagedError(f"sequence {message.sequence}, {message.subject}: {error}") from error

    def _read(self, message: StreamMessage) -> BatchEntry:
        if message.subject.endswith(_PROGRESS):
            operation_id = message.subject.split(".", 3)[2]
            progress = progress_entry(message.sequence, operation_id, message.data)
            if progress is not None:
                return progress
        try:
            return self._entry(message)
        except EventDamagedError as error:
            return UnreadableEntry(self._stored(message), error.detail)

    def _stored(self, message: StreamMessage) -> StoredEvent:
        operation_id, _, tail = message.subject.split(".", 2)[2].partition(".")
        side, _, name = tail.partition(".")
        # Whatever was published under our prefix is told apart here; a side that is none is nobody's to fold.
        return StoredEvent(
            message.sequence, operation_id, Side(side) if side in _SIDES else Side.RUN, name, message.data
        )


def _header(message: JsonMap, name: str) -> str | None:
    """Return a header of a message that the API gave: NATS/1.0 header lines in base64."""
    for line in base64.b64decode(message.get("hdrs", "")).decode(errors="replace").split("\r\n"):
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return None
