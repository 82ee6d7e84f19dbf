"""The event log as an archive works on it: what is archived, what of it is still there, and removing it.

Authority: an ``archived`` event that is in the log and names a verified file; nothing else justifies a removal.
Failures: a removal that broke off half way left events that are in the file too; it is repeated by the next run.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from milepost_contracts.events import Archived, Requested, Side
from milepost_contracts.subjects import Subjects

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import MESSAGE_NOT_FOUND, JetStream, JsonMap
from milepost_runtime.bus.pull import StreamReader
from milepost_runtime.bus.topology import Topology
from milepost_runtime.errors import BusRefusedError
from milepost_runtime.event_log import LogEntry, StoredEvent
from milepost_runtime.history.archive import HistoryArchive
from milepost_runtime.settings import BusSettings
from milepost_runtime.stored_events import read_entry

BATCH = 500


class JetStreamArchiveLog:
    """Implements ``ArchiveLog``."""

    def __init__(self, connection: BusConnection, settings: BusSettings, archive: HistoryArchive) -> None:
        self._archive = archive
        self._connection = connection
        self._timeout_seconds = settings.request_timeout_seconds
        self._jetstream = JetStream(connection, timeout_seconds=settings.request_timeout_seconds)
        self._subjects = Subjects(settings.prefix)
        self._stream = Topology(settings).events

    async def newest(self, *, after_sequence: int = 0) -> AsyncGenerator[LogEntry]:
        """Yield the newest ``archived`` event of every operation that has one after a sequence, in their order."""
        reader = StreamReader(
            self._connection,
            self._stream,
            timeout_seconds=self._timeout_seconds,
            filters=[self._subjects.events_of_type(Archived)],
            last_per_subject=True,
        )
        try:
            while batch := await reader.next_batch_to_end(BATCH):
                for message in batch:
                    if message.sequence <= after_sequence:
                        continue
                    operation_id = message.subject.split(".", 3)[2]
                    entry = read_entry(
                        StoredEvent(
                            message.sequence, operation_id, Archived.SIDE, Archived.NAME, message.data
                        )
                    )
                    if isinstance(entry, LogEntry):
                        yield entry
        finally:
            await reader.close()

    async def first_sequence(self, operation_id: str) -> int | None:
        """Return the position of the operation's first event that is still there. Answered by the leader."""
        request = {"seq": 1, "next_by_subj": self._subjects.events(operation_id)}
        try:
            answer = await self._jetstream.call(f"STREAM.MSG.GET.{self._stream}", request)
        except BusRefusedError as error:
            if error.error_code == MESSAGE_NOT_FOUND:
                return None
            raise
        return int(answer["message"]["seq"])

    async def events(self, operation_id: str, archived: Archived) -> Sequence[StoredEvent]:
        """Return the events in the operation's file.

        Raises: see ``HistoryArchive.get``.
        """
        return await asyncio.to_thread(self._archive.get, operation_id, archived)

    async def still_there(self) -> frozenset[str]:
        """Return the operations whose first event, or any run event, is still in the log."""
        wanted = (self._subjects.events_of_type(Requested), self._subjects.events(side=Side.RUN))
        pages = [await self._subjects_of(each) for each in wanted]
        return frozenset(subject.split(".", 3)[2] for page in pages for subject in page)

    async def _subjects_of(self, wanted: str) -> set[str]:
        found: set[str] = set()
        while True:
            request = {"subjects_filter": wanted, "offset": len(found)}
            answer = await self._jetstream.call(f"STREAM.INFO.{self._stream}", request)
            page: JsonMap = answer["state"].get("subjects") or {}
            if page.keys() <= found:
                return found
            found |= page.keys()

    async def handled_to(self) -> int | None:
        """Return up to where everybody who acts on events has handled all of them; None for to the end."""
        behind: list[int] = []
        offset = 0
        while True:
            answer = await self._jetstream.call(f"CONSUMER.LIST.{self._stream}", {"offset": offset})
            found: list[JsonMap] = answer.get("consumers") or []
            for consumer in found:
                acts = consumer["config"].get("ack_policy") != "none"
                if acts and (consumer["num_pending"] or consumer["num_ack_pending"]):
                    behind.append(int(consumer["ack_floor"]["stream_seq"]))
            offset += len(found)
            if not found or offset >= int(answer.get("total", 0)):
                return min(behind, default=None)

    async def remove(self, operation_id: str, archived: Archived) -> int:
        """Remove the events that are in the file, and return how many there were; harmless when they are gone."""
        answer = await self._jetstream.call(
            f"STREAM.PURGE.{self._stream}",
            {"filter": self._subjects.events(operation_id), "seq": archived.last_sequence + 1},
        )
        return int(answer["purged"])
