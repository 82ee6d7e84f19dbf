"""What happened to an operation, straight from the log: its events, and its state as of any of them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from milepost_runtime.event_log import EventLog
from milepost_runtime.stored_events import read_entry

from milepost_orchestrator.application.closing import closing_iterator
from milepost_orchestrator.application.documents import Document
from milepost_orchestrator.application.moments import Moment
from milepost_orchestrator.application.past import Past
from milepost_orchestrator.application.replaying import (
    EventFilter,
    event_document,
    state_document,
)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, the oldest first."""

    documents: Sequence[Document]
    next_cursor: str | None
    """The sequence after which the next page begins; None on the last page."""


class History:
    """Answers questions about the past in JSON-ready documents; ``BusUnavailableError`` when the log is away."""

    def __init__(self, event_log: EventLog, past: Past) -> None:
        self._event_log = event_log
        self._past = past

    async def events(
        self, operation_id: str, wanted: EventFilter, *, after_sequence: int, limit: int
    ) -> EventPage | None:
        """Return a page of events, the oldest first; None when there is no such operation."""
        documents: list[Document] = []
        last_sequence, found = after_sequence, after_sequence > 0
        stored = self._event_log.stored(operation_id, after_sequence=after_sequence)
        async with closing_iterator(stored) as each_stored:
            async for stored_event in each_stored:
                found = True
                entry = read_entry(stored_event)
                if not wanted.takes(entry):
                    continue
                if len(documents) == limit:
                    return EventPage(documents, str(last_sequence))
                documents.append(event_document(entry))
                last_sequence = entry.sequence
        return EventPage(documents, None) if found else None

    async def every_event(self, operation_id: str, wanted: EventFilter) -> AsyncIterator[Document]:
        """Yield all events that are wanted, the oldest first, to the present end; none for no such operation."""
        async with closing_iterator(self._event_log.stored(operation_id)) as each_stored:
            async for stored_event in each_stored:
                entry = read_entry(stored_event)
                if wanted.takes(entry):
                    yield event_document(entry)

    async def moment(
        self, operation_id: str, *, sequence: int | None = None, number: int | None = None
    ) -> Moment | None:
        """Return one event, the state after it and what it changed; None when there is no such operation."""
        return await self._past.moment(operation_id, sequence=sequence, number=number)

    async def state(
        self, operation_id: str, *, sequence: int | None = None, time: datetime | None = None
    ) -> Document | None:
        """Return the state as of a sequence or a time; None when there was no such operation (yet)."""
        past = await self._past.state(operation_id, sequence=sequence, time=time)
        if past.state is None:
            return None
        return {
            "operation_id": operation_id,
            "sequence": past.sequence,
            "events": past.events,
            "unreadable": [event_document(entry) for entry in past.unreadable],
            "state": state_document(past.state),
        }
