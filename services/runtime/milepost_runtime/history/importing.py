"""Import: put the events of a history file into another log, for reading.

States of an operation: absent -> some of its events appended, in the file's order -> all appended. Authority:
the log's expected sequence of each side, so nobody else can write between. Every imported event says in its
envelope which file it is from (``importedfrom``); whoever acts on events passes over such ones, so nothing that is
imported is ever dispatched, resumed into a child, registered or swept. Failures: a crash in between is finished by
importing the same file again; an operation that exists with other events is refused before anything is written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from milepost_contracts.envelope import Envelope
from milepost_contracts.events import Archived, Side

from milepost_runtime.errors import HistoryConflictError, HistoryDamagedError
from milepost_runtime.event_log import EventLog, LogEntry, StoredEvent
from milepost_runtime.stored_events import entry_of


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import."""

    operations: int
    events_written: int
    events_present: int
    """How many were there already."""


async def import_history(
    event_log: EventLog, events: Sequence[StoredEvent], *, imported_from: str, dry_run: bool = False
) -> Imported:
    """Append the events that are not there yet; all of them are checked before the first is written.

    ``imported_from`` is the file's digest; it marks every event.

    Raises:
        EventDamagedError: an event cannot be read by this version.
        HistoryDamagedError: an operation does not begin at its beginning, or an envelope is of another one.
        HistoryConflictError: an operation exists with other events, or somebody writes to it.
    """
    entries = _about_the_operation(entry_of(stored) for stored in events)
    by_operation = _by_operation(entries)
    present = {
        operation_id: await _present(event_log, operation_id, wanted)
        for operation_id, wanted in by_operation.items()
    }
    last = {
        (operation_id, side): max((e.sequence for e in found if e.event.SIDE is side), default=0)
        for operation_id, found in present.items()
        for side in Side
    }
    skipped = {operation_id: len(found) for operation_id, found in present.items()}
    written = 0
    for entry in entries:
        if skipped[entry.operation_id]:
            skipped[entry.operation_id] -= 1
            continue
        written += 1
        if not dry_run:
            await _append(event_log, entry, imported_from, last)
    return Imported(len(by_operation), written, sum(len(found) for found in present.values()))


async def _append(
    event_log: EventLog, entry: LogEntry, imported_from: str, last: dict[tuple[str, Side], int]
) -> None:
    envelope = entry.envelope.model_copy(update={"sequence": None, "importedfrom": imported_from})
    place = (entry.operation_id, entry.event.SIDE)
    last[place] = await event_log.append(envelope, type(entry.event), expected_sequence=last[place])


def _by_operation(entries: Sequence[LogEntry]) -> Mapping[str, list[LogEntry]]:
    found: dict[str, list[LogEntry]] = {}
    for entry in entries:
        if entry.envelope.subject != entry.operation_id:
            raise HistoryDamagedError(
                f"sequence {entry.sequence} is of {entry.operation_id} and says {entry.envelope.subject}"
            )
        found.setdefault(entry.operation_id, []).append(entry)
    for operation_id, of_operation in found.items():
        if of_operation[0].event.NAME != "requested":
            raise HistoryDamagedError(f"{operation_id} begins with {of_operation[0].event.NAME}")
    return found


async def _present(event_log: EventLog, operation_id: str, wanted: Sequence[LogEntry]) -> list[LogEntry]:
    """Return the first of the wanted events that are there already; more than those may be there."""
    found = _about_the_operation(await event_log.read_operation(operation_id))
    for here, there in zip(found, wanted, strict=False):
        if _content(here.envelope) != _content(there.envelope):
            raise HistoryConflictError(
                f"{operation_id}: {here.event.NAME} {here.envelope.id} at sequence {here.sequence} "
                f"is {there.event.NAME} {there.envelope.id} in the file"
            )
    if len(found) < len(wanted) and not all(entry.envelope.importedfrom for entry in found):
        raise HistoryConflictError(
            f"{operation_id} lives here and has only {len(found)} of {len(wanted)} events"
        )
    return found[: len(wanted)]


def _about_the_operation(entries: Iterable[LogEntry]) -> list[LogEntry]:
    """Leave out where a log has put its events: in another log nothing is there."""
    return [entry for entry in entries if not isinstance(entry.event, Archived)]


def _content(envelope: Envelope) -> Envelope:
    """What makes two events the same, wherever they are stored."""
    return envelope.model_copy(update={"sequence": None, "importedfrom": None})
