"""Facts about what people did to the stack itself, and to no operation: who, why, what was before and after.

They are in the JetStream stream of dispatch, on a subject of their own, and only read: nothing follows from them.
"""

from typing import TypeAlias

from milepost_contracts.ids import OperationId
from milepost_contracts.records import RequestedEvent

UPKEEP = "upkeep"
"""The subject of these records, where others name a schedule."""


class _UpkeepEvent(RequestedEvent):
    ABOUT = "upkeep"


class EventsRedelivered(_UpkeepEvent):
    """Events that could not be applied to the read models were tried again."""

    NAME = "redelivered"
    operation_id: OperationId | None = None
    """Only this operation's; all when absent."""
    before: int
    """How many had been set aside."""
    after: int
    """How many still are."""


class OrphansSwept(_UpkeepEvent):
    """What nothing refers to was removed from the store."""

    NAME = "orphans-swept"
    removed: int
    removed_bytes: int


UpkeepEvent: TypeAlias = EventsRedelivered | OrphansSwept
UPKEEP_EVENTS: dict[str, type[UpkeepEvent]] = {
    event.type_name(): event for event in (EventsRedelivered, OrphansSwept)
}
"""By CloudEvents type."""
