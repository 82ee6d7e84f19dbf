"""Build and read envelopes: the one place where models become messages and messages become models."""

from datetime import datetime
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from milepost_contracts.commands import COMMANDS, Command
from milepost_contracts.dispatch import DISPATCH
from milepost_contracts.envelope import Envelope
from milepost_contracts.errors import ContractError
from milepost_contracts.events import Event
from milepost_contracts.failures import Problem

_ABOUT = ("operation_id", "kind", "schedule_id")
"""What a command is about: the first that it has."""
_WORDS = {
    "extra_forbidden": "there is no such field",
    "missing": "must be given",
    "model_type": "give an object",
    "model_attributes_type": "give an object",
    "union_tag_not_found": "must have the field {discriminator}",
    "union_tag_invalid": "{tag} is none of {expected_tags}",
}
"""Where pydantic speaks of inputs and tags, which nobody at a terminal has heard of."""


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


def problems_of(error: ValidationError, prefix: str = "", document: object = None) -> tuple[Problem, ...]:
    """Return every fault that pydantic found, each with the dotted path of its field.

    pydantic puts the name of a union's branch into the path; with the ``document`` that was checked it stays out.
    """
    return tuple(
        Problem(
            field=".".join(str(part) for part in ((prefix,) if prefix else ()) + _path(fault, document)),
            message=_words(fault),
        )
        for fault in error.errors(include_url=False)
    )


def _words(fault: ErrorDetails) -> str:
    """Say it plainly; the braces are filled with what pydantic knows."""
    own = _WORDS.get(fault["type"])
    context = {name: str(value).replace("'", "") for name, value in fault.get("ctx", {}).items()}
    if context.get("discriminator", "").endswith("()"):  # of a function, whose name nobody outside knows
        return "has none of the forms that may stand here"
    if own is None:
        return fault["msg"].removeprefix("Value error, ")
    return own.format_map(context)


def _path(fault: ErrorDetails, document: object) -> tuple[int | str, ...]:
    """Keep the parts that the document has, and a last one that names a field which it lacks."""
    if not isinstance(document, dict):
        return fault["loc"]
    found = cast("Any", document)
    path: list[int | str] = []
    for number, part in enumerate(fault["loc"], start=1):
        if _has(found, part):
            path.append(part)
            found = found[part]
        elif number == len(fault["loc"]) and _is_field_of(found, fault):
            path.append(part)
    return tuple(path)


def _is_field_of(found: Any, fault: ErrorDetails) -> bool:
    """Tell an absent field from a branch: a branch was given all of it, a field its own value or its default."""
    return isinstance(found, dict) and (fault["type"] == "missing" or fault["input"] != found)


def _has(found: Any, part: int | str) -> bool:
    if isinstance(found, list | tuple):
        return isinstance(part, int) and part < len(cast("list[object]", found))
    return isinstance(found, dict) and part in found


def _absent(envelope: Envelope) -> set[str]:
    optional = ("correlationid", "causationid", "sequence", "importedfrom", "traceparent")
    return {name for name in optional if getattr(envelope, name) is None}
