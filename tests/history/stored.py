"""Stories as they are stored."""

from milepost_contracts.events import Event
from milepost_contracts.messages import encode
from milepost_runtime.event_log import StoredEvent

from tests.orchestrator.stories import OPERATION, log_entries


def stored_story(*events: Event, operation_id: str = OPERATION, first_sequence: int = 1) -> list[StoredEvent]:
    """The events as the log stores them."""
    return [
        StoredEvent(entry.sequence, operation_id, entry.event.SIDE, entry.event.NAME, encode(entry.envelope))
        for entry in log_entries(*events, operation_id=operation_id, first_sequence=first_sequence)
    ]
