"""Verdicts, and who a command is: what every handler of commands answers with."""

import hashlib
import json
from dataclasses import dataclass
from typing import TypeAlias

from milepost_contracts.cleanup import CleanedUp
from milepost_contracts.commands import Command
from milepost_contracts.failures import Problem, RejectionCode
from milepost_contracts.ids import event_id_of
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected

from milepost_orchestrator.domain.rejections import CommandIdentity, Rejection

Answer: TypeAlias = Accepted | Duplicate | Rejected
AnyAnswer: TypeAlias = Answer | CleanedUp


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a command, and under which id."""

    command_id: str
    source: str


def rejected(command_id: str, rejection: Rejection) -> Rejected:
    """Return the verdict for a rejection."""
    return Rejected(
        command_id=command_id,
        code=rejection.code,
        message=rejection.message,
        fix=rejection.fix,
        problems=rejection.problems,
        operation_id=rejection.operation_id,
    )


def invalid_command(command_id: str, message: str, problems: tuple[Problem, ...] = ()) -> Rejected:
    """Return the verdict on something that is not a command."""
    return Rejected(
        command_id=command_id,
        code=RejectionCode.INVALID_COMMAND,
        message=message,
        fix="compare it with the command's schema in contracts/schemas",
        problems=problems,
    )


def unavailable(command_id: str, reason: str) -> Rejected:
    """Return the verdict while something that is needed is away."""
    return Rejected(
        command_id=command_id,
        code=RejectionCode.UNAVAILABLE,
        message=reason,
        fix="send the same command with the same id again in a moment; `milepost doctor` says what is away",
    )


def identity_of(command: Command, sender: Sender, operation_id: str, event_name: str) -> CommandIdentity:
    """Return who the command is.

    The content goes into the event's id, so that a repetition and a reused id can be told apart.
    """
    content = json.dumps(command.model_dump(mode="json", exclude={"dry_run"}), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return CommandIdentity(
        command_id=sender.command_id,
        event_id=event_id_of(operation_id, event_name, sender.command_id, digest),
    )
