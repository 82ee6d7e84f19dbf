"""Refusals as data, and who a command is: what every decision is made of."""

from dataclasses import dataclass

from milepost_contracts.failures import Problem, RejectionCode

from milepost_orchestrator.domain.operation import Facts

NAMED_MAX = 10
"""At most this many ids are listed in a message."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """The command is refused; nothing happens."""

    code: RejectionCode
    message: str
    fix: str
    problems: tuple[Problem, ...] = ()
    operation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Repeated:
    """The same command took effect before."""

    operation_id: str


@dataclass(frozen=True, slots=True)
class CommandIdentity:
    """Who the command is: the same id with another content is not the same command."""

    command_id: str
    event_id: str
    """Id of the event that the command leads to; it depends on the command's content."""


def operation_not_found(operation_id: str) -> Rejection:
    """Refuse a command about an operation that does not exist."""
    return Rejection(
        RejectionCode.OPERATION_NOT_FOUND,
        f"there is no operation {operation_id}",
        "list the operations with `milepost ps`",
        operation_id=operation_id,
    )


def command_id_reused(command_id: str, operation_id: str) -> Rejection:
    """Refuse a command whose id was used for another one."""
    return Rejection(
        RejectionCode.COMMAND_ID_REUSED,
        f"the command id {command_id} was used before, for another command",
        "send each new command with an id of its own; repeat an id only with the very same command",
        operation_id=operation_id,
    )


def seen_before(
    facts: Facts, identity: CommandIdentity, *, imported: RejectionCode
) -> Repeated | Rejection | None:
    """Say what is said to a command before its operation's state matters; None for one that is to be decided.

    It took effect before, its id was used for another one, or the operation happened elsewhere (``imported`` is
    the code for that).
    """
    event_id = facts.commands.get(identity.command_id)
    if event_id is not None:
        if event_id == identity.event_id:
            return Repeated(facts.operation_id)
        return command_id_reused(identity.command_id, facts.operation_id)
    if facts.imported_from is not None:
        return _imported(imported, facts.operation_id)
    return None


def _imported(code: RejectionCode, operation_id: str) -> Rejection:
    return Rejection(
        code,
        f"{operation_id} was imported for reading; it lives where it was exported",
        f"look at it with `milepost events show {operation_id}`, or send the command to its own stack",
        operation_id=operation_id,
    )


def listed(words: list[str]) -> str:
    """Return some of the words, and how many more there are."""
    more = f" and {len(words) - NAMED_MAX} more" if len(words) > NAMED_MAX else ""
    return ", ".join(words[:NAMED_MAX]) + more
