"""From events as they are stored to typed entries, or to the reason why one cannot be read."""

from milepost_contracts.envelope import Envelope
from milepost_contracts.errors import ContractError
from milepost_contracts.events import Progress
from milepost_contracts.upcasting import decode_event
from pydantic import ValidationError

from milepost_runtime.errors import EventDamagedError
from milepost_runtime.event_log import BatchEntry, LogEntry, ReadEntry, StoredEvent, UnreadableEntry
from milepost_runtime.progress_entries import progress_entry


def entry_of(stored: StoredEvent) -> LogEntry:
    """Return the typed entry of a stored event, in its newest version.

    Raises:
        EventDamagedError: it is no document of Milepost's, or of a type that is not known here.
    """
    try:
        envelope = Envelope.model_validate_json(with_sequence(stored.payload, stored.sequence))
        return LogEntry(stored.sequence, stored.operation_id, envelope, decode_event(envelope))
    except (ValidationError, ContractError) as error:
        where = f"sequence {stored.sequence}, {stored.operation_id}.{stored.subject_tail}"
        raise EventDamagedError(f"{where}: {error}") from error


def read_entry(stored: StoredEvent) -> ReadEntry:
    """Return the typed entry, or why there is none."""
    try:
        return entry_of(stored)
    except EventDamagedError as error:
        return UnreadableEntry(stored, error.detail)


def batch_entry(stored: StoredEvent) -> BatchEntry:
    """Return the entry for a batch: of progress what is folded, of anything else the typed one."""
    if stored.name == Progress.NAME and stored.side is Progress.SIDE:
        progress = progress_entry(stored.sequence, stored.operation_id, stored.payload)
        if progress is not None:
            return progress
    return read_entry(stored)


def with_sequence(document: bytes, sequence: int) -> bytes:
    """Put the position into a stored document: here this costs a tenth of what it costs in the model."""
    return b'%b,"sequence":"%d"}' % (document.rstrip().removesuffix(b"}"), sequence)
