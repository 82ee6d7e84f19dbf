"""Event streams that a command reads: an operation's in the log, or one in a history file."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from milepost_runtime.event_log import LogEntry, ReadEntry, StoredEvent
from milepost_runtime.history.files import read_history
from milepost_runtime.stored_events import entry_of, read_entry

from milepost_cli.bus import no_operation, open_bus
from milepost_cli.errors import NotFoundError, UsageFaultError
from milepost_cli.location import StackLocation, locate
from milepost_cli.lookup import operation_id_of

OPERATIONS_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class EventStream:
    """One operation's events, from wherever they are."""

    operation_id: str
    events: Sequence[StoredEvent]

    def entries(self) -> list[ReadEntry]:
        """Return the events, decoded as far as they can be."""
        return [read_entry(stored) for stored in self.events]

    def typed_entries(self) -> list[LogEntry]:
        """Return the events, decoded.

        Raises:
            EventDamagedError: one cannot be read.
        """
        return [entry_of(stored) for stored in self.events]


def read_stream(named: str, operation: str | None, directory: Path | None) -> EventStream:
    """Return the stream that a person means: of a history file, or of an operation in the log.

    ``operation`` chooses one of several in a file.

    Raises:
        NotFoundError: there is no such operation.
        UsageFaultError: the file holds several and none is chosen.
        HistoryDamagedError: the file is no history.
    """
    path = Path(named)
    if path.suffix or path.is_file():
        return _of_file(path, operation)
    location = locate(directory)
    with location.api() as api:
        operation_id = operation_id_of(api, named)
    return EventStream(operation_id, asyncio.run(_of_log(location, operation_id)))


def _of_file(path: Path, operation: str | None) -> EventStream:
    if not path.is_file():
        raise NotFoundError(
            f"there is no file {path}", fix="`milepost events export` writes one", code="no-file"
        )
    with path.open("rb") as file:
        header, events, _ = read_history(file)
    chosen = [each for each in header.operations if operation is None or each.startswith(operation)]
    if len(chosen) != 1:
        names = ", ".join(header.operations[:OPERATIONS_NAMED_MAX])
        more = ", ..." if len(header.operations) > OPERATIONS_NAMED_MAX else ""
        raise UsageFaultError(
            f"{path} holds {len(header.operations)} operations: {names}{more}",
            fix="choose one with --operation ID",
        )
    return EventStream(chosen[0], [each for each in events if each.operation_id == chosen[0]])


async def _of_log(location: StackLocation, operation_id: str) -> list[StoredEvent]:
    async with open_bus(location) as bus:
        events = await bus.stored(operation_id)
    if not events:
        raise no_operation(operation_id)
    return events
