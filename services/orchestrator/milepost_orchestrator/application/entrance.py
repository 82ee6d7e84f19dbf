"""From bytes to a verdict, the same for a request and for a stored command; what is wrong is in the verdict."""

import re

from milepost_contracts.commands import COMMANDS
from milepost_contracts.envelope import Envelope
from milepost_contracts.failures import Problem
from milepost_contracts.ids import TOKEN_PATTERN
from milepost_contracts.messages import decode
from milepost_contracts.problems import problems_of
from pydantic import BaseModel, ConfigDict, ValidationError

from milepost_orchestrator.application.answers import AnyAnswer, invalid_command
from milepost_orchestrator.application.commands import CommandHandler

_TOKEN = re.compile(TOKEN_PATTERN)
PROBLEMS_MAX = 50


class _Named(BaseModel):
    """The least that must be readable of a message to answer it under its id."""

    model_config = ConfigDict(extra="ignore")
    id: str


class CommandEntrance:
    """Answers messages that should hold a command."""

    def __init__(self, handler: CommandHandler) -> None:
        self._handler = handler

    async def answer(self, payload: bytes, *, command_name: str, fallback_id: str) -> AnyAnswer:
        """Return the verdict on a message.

        ``command_name`` is the last part of the subject it came on; ``fallback_id`` names the verdict on a message
        that has no usable id of its own.
        """
        try:
            envelope = decode(payload)
        except ValidationError as error:
            return invalid_command(
                usable_id(payload) or fallback_id,
                "the message is not a CloudEvents document of Milepost's",
                problems_of(error)[:PROBLEMS_MAX],
            )
        if not _TOKEN.match(envelope.id):
            problem = Problem(field="id", message=f"must match {TOKEN_PATTERN}")
            return invalid_command(fallback_id, "the message's id cannot be a command's id", (problem,))
        mismatch = _mismatch(envelope, command_name)
        if mismatch is not None:
            return invalid_command(envelope.id, mismatch.message, (mismatch,))
        return await self._handler.handle_envelope(envelope)


def usable_id(payload: bytes) -> str | None:
    """Return the id that a message gives itself, if a verdict can be published under it."""
    try:
        named = _Named.model_validate_json(payload)
    except ValidationError:
        return None
    return named.id if _TOKEN.match(named.id) else None


def _mismatch(envelope: Envelope, command_name: str) -> Problem | None:
    expected = COMMANDS.get(command_name)
    if expected is None:
        known = ", ".join(sorted(COMMANDS))
        return Problem(field="subject", message=f"there is no command {command_name}; there are {known}")
    if envelope.type != expected.TYPE:
        return Problem(field="type", message=f"{envelope.type} came where {expected.TYPE} belongs")
    return None
