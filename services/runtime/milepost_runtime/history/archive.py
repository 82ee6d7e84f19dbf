"""Archived histories: the events of one operation as a compressed history file in the object store.

The same events give the same bytes, so a file that is written again after a crash is the same file. Which file an
operation has is said by its newest ``archived`` event alone, and what is read is compared with the digest there.
"""

import gzip
import io
from collections.abc import Iterable, Sequence

from milepost_contracts.envelope import Envelope
from milepost_contracts.events import Archived
from milepost_contracts.upcasting import decode_event

from milepost_runtime.digests import digest_of_bytes
from milepost_runtime.errors import ArchiveDamagedError, HistoryDamagedError
from milepost_runtime.event_log import LogEntry, StoredEvent
from milepost_runtime.history.files import HistoryHeader, read_history, write_history
from milepost_runtime.store.port import ArtifactStore

PREFIX = "archive/"
MEDIA_TYPE = "application/gzip"
LEVEL = 6
END_BYTES_MAX = 256 * 1024
"""A larger end is in the file only: a message on the bus has at most a MiB."""


def history_key(operation_id: str, last_sequence: int) -> str:
    """Return the key of the document that holds an operation's events up to a sequence."""
    return f"{PREFIX}{operation_id}/{last_sequence:012}.jsonl.gz"


class HistoryArchive:
    """History files in a store. Blocking, like the store."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def put(
        self,
        operation_id: str,
        events: Sequence[StoredEvent],
        *,
        end: LogEntry,
        source: str,
        requested_by: str,
    ) -> Archived:
        """Store the file, read it back, and return the event that names it; ``end`` is the terminal event.

        Raises:
            ArchiveDamagedError: the store gives back something else.
            StoreUnavailableError, StoreAccessError: the store is away, or refuses.
        """
        content = _compressed(events, HistoryHeader(source, (operation_id,)))
        last_sequence = events[-1].sequence
        archived = Archived(
            history_key=history_key(operation_id, last_sequence),
            history_digest=digest_of_bytes(content),
            size_bytes=len(content),
            events=len(events),
            last_sequence=last_sequence,
            end=_end(end, events),
            requested_by=requested_by,
        )
        if self._store.get_document(archived.history_key) != content:
            self._store.put_document(archived.history_key, content, media_type=MEDIA_TYPE)
        self.get(operation_id, archived)
        return archived

    def get(self, operation_id: str, archived: Archived) -> list[StoredEvent]:
        """Return the events in the file, verified.

        Raises:
            ArchiveDamagedError: it is gone or damaged.
            StoreUnavailableError, StoreAccessError: the store is away, or refuses.
        """
        content = self._store.get_document(archived.history_key)
        if content is None:
            raise ArchiveDamagedError(f"{archived.history_key} is missing")
        if digest_of_bytes(content) != archived.history_digest:
            raise ArchiveDamagedError(f"{archived.history_key} has another digest")
        try:
            header, events, _ = read_history(io.BytesIO(gzip.decompress(content)))
        except (OSError, EOFError, HistoryDamagedError) as error:
            raise ArchiveDamagedError(f"{archived.history_key}: {error}") from error
        if header.operations != (operation_id,) or len(events) != archived.events:
            raise ArchiveDamagedError(f"{archived.history_key} holds other events")
        return list(events)


def ended_as(entry: LogEntry) -> LogEntry | None:
    """Return the terminal event that an ``archived`` event carries; None when it carries none."""
    envelope = entry.event.end if isinstance(entry.event, Archived) else None
    if envelope is None or envelope.sequence is None:
        return None
    return LogEntry(int(envelope.sequence), entry.operation_id, envelope, decode_event(envelope))


def _end(entry: LogEntry, events: Sequence[StoredEvent]) -> Envelope | None:
    (size_bytes,) = (len(each.payload) for each in events if each.sequence == entry.sequence)
    return entry.envelope if size_bytes <= END_BYTES_MAX else None


def _compressed(events: Iterable[StoredEvent], header: HistoryHeader) -> bytes:
    buffer = io.BytesIO()
    write_history(buffer, header, events)
    return gzip.compress(buffer.getvalue(), LEVEL, mtime=0)  # no time: the same events, the same bytes
