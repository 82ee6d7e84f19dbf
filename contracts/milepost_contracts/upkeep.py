"""Facts about what people did to the stack itself, and to no operation: who, why, what was before and after.

They are in the JetStream stream of dispatch, on a subject of their own, and only read: nothing follows from them.
"""

from typing import ClassVar, TypeAlias

from milepost_contracts.envelope import Envelope
from milepost_contracts.errors import ContractError
from milepost_contracts.ids import OperationId
from milepost_contracts.model import ContractModel

UPKEEP = "upkeep"
"""The subject of these records, where others name a schedule."""


class _UpkeepEvent(ContractModel):
    NAME: ClassVar[str]
    requested_by: str = "unknown"
    reason: str | None = None

    @classmethod
    def type_name(cls) -> str:
        """Return the CloudEvents type, such as ``milepost.upkeep.redelivered.v1``."""
        return f"milepost.upkeep.{cls.NAME}.v1"


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


def decode_upkeep_event(envelope: Envelope) -> UpkeepEvent:
    """Return the typed event of an envelope.

    Raises:
        ContractError: no such event is known.
        pydantic.ValidationError: the data does not fit.
    """
    event_class = UPKEEP_EVENTS.get(envelope.type)
    if event_class is None:
        raise ContractError(f"no event of type {envelope.type!r} is known")
    return event_class.model_validate(envelope.data)
