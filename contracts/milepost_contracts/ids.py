"""Identifiers: what they look like and how those that must be repeatable are derived.

Operation and checkpoint ids are derived, not drawn: the id of an operation follows from the id of the
command that asked for it, so a redelivered command finishes what a crash left half done and never makes a
second operation. All ids are single tokens of a bus subject: lower-case letters, digits, ``-`` and ``_``.
"""

import base64
import hashlib
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from pydantic import StringConstraints

TOKEN_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"  # noqa: S105 - a bus subject's token, not a secret

Token: TypeAlias = Annotated[str, StringConstraints(pattern=TOKEN_PATTERN)]
OperationId: TypeAlias = Token
CheckpointId: TypeAlias = Token
CommandId: TypeAlias = Token
WorkerId: TypeAlias = Token
KindName: TypeAlias = Token
ScheduleId: TypeAlias = Token


def operation_id_of(command_id: str) -> OperationId:
    """Return the id of the operation that the start or resume command ``command_id`` creates."""
    return "op-" + _short_hash("operation", command_id)


def schedule_id_of(command_id: str) -> ScheduleId:
    """Return the id of the schedule that the command ``command_id`` creates."""
    return "sc-" + _short_hash("schedule", command_id)


def scheduled_command_id_of(schedule_id: str, due_at: datetime) -> CommandId:
    """Return the id of the start that a schedule leads to at a time: the same, whoever sees to it and when."""
    return "cmd-" + _short_hash("scheduled", schedule_id, due_at.astimezone(UTC).isoformat())


def bulk_command_id_of(bulk_id: str, target_id: str) -> CommandId:
    """Return the id of the command about one target that the bulk command ``bulk_id`` leads to."""
    return "cmd-" + _short_hash("bulk", bulk_id, target_id)


def checkpoint_id_of(operation_id: str, attempt: int, ordinal: int) -> CheckpointId:
    """Return the id of the ``ordinal``-th checkpoint (from 1) that ``attempt`` of the operation saves."""
    return "cp-" + _short_hash("checkpoint", operation_id, str(attempt), str(ordinal))


def event_id_of(operation_id: str, *parts: str | int) -> str:
    """Return the id of an event that must be the same when it is written again after a lost answer."""
    return "ev-" + _short_hash("event", operation_id, *(str(part) for part in parts))


def _short_hash(*parts: str) -> str:
    """80 bits in 16 characters: a collision is expected after 10**12 ids."""
    digest = hashlib.sha256("\x00".join(parts).encode()).digest()
    return base64.b32encode(digest[:10]).decode().lower()
