"""Build and read envelopes: the one place where models become messages and messages become models."""

from datetime import datetime

from milepost_contracts.commands import COMMANDS, Command
from milepost_contracts.dispatch import DISPATCH
from milepost_contracts.envelope import Envelope
from milepost_contracts.errors import ContractError
from milepost_contracts.events import Event

_ABOUT = ("operation_id", "kind", "schedule_id")
"""What a command is about: the first that it has."""


def envelop_event(
    event: Event,
    *,
    event_id: str,
    operation_id: str,
    source: str,
    time: datetime,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    traceparent: str | None = None,
) -> Envelope:
    """Put an event of ``operation_id`` into its envelope."""
    return Envelope(
        id=event_id,
        source=source,
        type=event.type_name(),
        subject=operation_id,
        time=time,
        correlationid=correlation_id,
        causationid=causation_id,
        traceparent=traceparent,
        data=event.model_dump(mode="json"),
    )


def envelop_command(
    command: Command,
    *,
    command_id: str,
    source: str,
    time: datetime,
    correlation_id: str | None = None,
    traceparent: str | None = None,
) -> Envelope:
    """Put a command into its envelope; ``command_id`` is its idempotency key."""
    subject = next((found for name in _ABOUT if (found := getattr(command, name, None))), DISPATCH)
    return Envelope(
        id=command_id,
        source=source,
        type=command.TYPE,
        subject=subject,
        time=time,
        correlationid=correlation_id,
        traceparent=traceparent,
        data=command.model_dump(mode="json"),
    )


def decode_command(envelope: Envelope) -> Command:
    """Return the typed command of an envelope.

    Raises:
        ContractError: no command of that type is known.
        pydantic.ValidationError: the data does not fit; ``problems_of`` names every fault.
    """
    for command_class in COMMANDS.values():
        if envelope.type == command_class.TYPE:
            return command_class.model_validate(envelope.data)
    raise ContractError(f"no command of type {envelope.type!r} is known")


def encode(envelope: Envelope) -> bytes:
    """Return the wire form: absent extensions are left out, as CloudEvents wants it."""
    return envelope.model_dump_json(exclude_none=False, exclude=_absent(envelope)).encode()


def decode(payload: bytes) -> Envelope:
    """Return the envelope of a wire form.

    Raises:
        pydantic.ValidationError: it is not a CloudEvents document of Milepost's.
    """
    return Envelope.model_validate_json(payload)


def _absent(envelope: Envelope) -> set[str]:
    optional = ("correlationid", "causationid", "sequence", "importedfrom", "traceparent")
    return {name for name in optional if getattr(envelope, name) is None}
