"""Redaction: replace chosen values of events before they leave the house.

A path names a field of the events' data with dots, such as ``spec.data.name``, ``host`` or ``summary.*``; ``*``
stands for every key or item. ``source`` of the envelope may be named too. The value becomes the text ``redacted``;
where the event's type wants anything but a text, the field cannot be redacted.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from milepost_runtime.errors import EventDamagedError, RedactionError
from milepost_runtime.event_log import StoredEvent
from milepost_runtime.stored_events import entry_of

WORD = "redacted"
_OF_ENVELOPE = frozenset({"source"})


def redact(stored: StoredEvent, paths: Sequence[str]) -> StoredEvent:
    """Return the event with the values at ``paths`` replaced; what it does not have does not matter.

    Raises:
        RedactionError: the event could not be read again.
    """
    if not paths:
        return stored
    try:
        document = json.loads(stored.payload)
    except ValueError as error:
        raise RedactionError(f"sequence {stored.sequence} is no JSON; leave its operation out") from error
    found = [path for path in paths if _redact_document(document, path.split("."))]
    if not found:
        return stored
    payload = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    redacted = replace(stored, payload=payload)
    try:
        entry_of(redacted)
    except EventDamagedError as error:
        raise RedactionError(f"{', '.join(found)} of {stored.name}") from error
    return redacted


def _redact_document(document: Any, path: list[str]) -> bool:
    if not isinstance(document, dict):
        return False
    envelope = cast("dict[str, Any]", document)
    if len(path) == 1 and path[0] in _OF_ENVELOPE:
        archived = envelope.get("data")
        end = cast("dict[str, Any]", archived).get("end") if isinstance(archived, dict) else None
        return _replace(envelope, path) | _replace(end, path)
    data = envelope.get("data")
    if not isinstance(data, dict):
        return False
    fields = cast("dict[str, Any]", data)
    # A resume repeats the child's whole request, an archive the event that ended the operation.
    return (
        _replace(fields, path)
        | _replace(fields.get("child"), path)
        | _redact_document(fields.get("end"), path)
    )


def _replace(value: Any, path: Sequence[str]) -> bool:
    first, rest = path[0], path[1:]
    if isinstance(value, dict):
        holder = cast("dict[Any, Any]", value)
        places: list[Any] = list(holder) if first == "*" else [first] if first in holder else []
    elif isinstance(value, list):
        holder = cast("dict[Any, Any]", value)  # read and written by place all the same
        count = len(cast("list[Any]", value))
        chosen = int(first) if first.isdecimal() else -1
        places = list(range(count)) if first == "*" else [chosen] if 0 <= chosen < count else []
    else:
        return False
    changed = False
    for place in places:
        if rest:
            changed |= _replace(holder[place], rest)
        elif holder[place] is not None and holder[place] != WORD:
            holder[place] = WORD
            changed = True
    return changed
