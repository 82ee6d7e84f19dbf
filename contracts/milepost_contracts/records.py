"""Records: facts about dispatch, schedules and upkeep, no operation's; kept and folded as its events are."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, TypeVar

from pydantic import Field

from milepost_contracts.envelope import Envelope
from milepost_contracts.errors import ContractError
from milepost_contracts.model import ContractModel


class DispatchEnvelope(Envelope):
    """The CloudEvents document of a fact about dispatch, a schedule or upkeep."""

    type: str = Field(pattern=r"^milepost\.(dispatch|schedule|upkeep)\.[a-z-]+\.v[0-9]+$")


class RecordedEvent(ContractModel):
    """What happened to something that is no operation."""

    ABOUT: ClassVar[str]
    NAME: ClassVar[str]

    @classmethod
    def type_name(cls) -> str:
        """Return the CloudEvents type, such as ``milepost.dispatch.held.v1``."""
        return f"milepost.{cls.ABOUT}.{cls.NAME}.v1"


class RequestedEvent(RecordedEvent):
    """What somebody asked for."""

    requested_by: str = "unknown"
    reason: str | None = None


EventT = TypeVar("EventT", bound=RecordedEvent)


def envelop_record(
    event: RecordedEvent,
    *,
    event_id: str,
    subject: str,
    source: str,
    time: datetime,
    causation_id: str | None = None,
) -> DispatchEnvelope:
    """Put an event into its envelope; ``subject`` is what it is about."""
    return DispatchEnvelope(
        id=event_id,
        source=source,
        type=event.type_name(),
        subject=subject,
        time=time,
        causationid=causation_id,
        data=event.model_dump(mode="json"),
    )


def decode_record(envelope: Envelope, known: Mapping[str, type[EventT]]) -> EventT:
    """Return the typed event of an envelope; ``known`` are those that it may be, by CloudEvents type.

    Raises:
        ContractError: no such event is known.
        pydantic.ValidationError: the data does not fit.
    """
    event_class = known.get(envelope.type)
    if event_class is None:
        raise ContractError(f"no event of type {envelope.type!r} is known")
    return event_class.model_validate(envelope.data)
