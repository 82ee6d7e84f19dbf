"""What to do about a command: ``decide_*(state, command, ...)`` returns events, a repetition or a rejection.

A refused command is data. Nothing here looks at a clock, the bus or the store; ids arrive as arguments.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.checkpoints import CheckpointOrigin
from milepost_contracts.commands import CancelOperation, ResumeOperation
from milepost_contracts.events import CancelRequested, Requested, Resumed
from milepost_contracts.failures import Problem, RejectionCode

from milepost_orchestrator.domain.evolution import stops_earlier
from milepost_orchestrator.domain.operation import (
    Cancelled,
    Cancelling,
    Checkpoint,
    CheckpointStatus,
    Completed,
    Facts,
    Failed,
    Operation,
    is_terminal,
    status_of,
)

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


StartDecision: TypeAlias = Requested | Repeated | Rejection
CancelDecision: TypeAlias = CancelRequested | Repeated | Rejection
ResumeDecision: TypeAlias = Resumed | Repeated | Rejection


def decide_start(
    state: Operation | None, identity: CommandIdentity, requested: Requested | Rejection
) -> StartDecision:
    """Decide a start; ``state`` is the operation that the command's id stands for, if it exists."""
    if state is None:
        return requested
    if state.facts.requested_event_id == identity.event_id:
        return Repeated(state.facts.operation_id)
    return command_id_reused(identity.command_id, state.facts.operation_id)


def decide_cancel(
    state: Operation | None, command: CancelOperation, identity: CommandIdentity, requested_by: str
) -> CancelDecision:
    """Decide a cancel."""
    if state is None:
        return operation_not_found(command.operation_id)
    seen = _seen_before(state.facts, identity)
    if seen is not None:
        return seen
    if state.facts.imported_from is not None:
        return imported(RejectionCode.NOT_CANCELLABLE, command.operation_id)
    if is_terminal(state):
        return Rejection(
            RejectionCode.NOT_CANCELLABLE,
            f"{command.operation_id} has ended already: {status_of(state)}",
            _what_now(state),
            operation_id=command.operation_id,
        )
    if isinstance(state, Cancelling) and not stops_earlier(command.at_unit, state.at_unit):
        when = "" if state.at_unit is None else f" after unit {state.at_unit}"
        return Rejection(
            RejectionCode.ALREADY_CANCELLING,
            f"{command.operation_id} is being cancelled{when} already",
            f"wait for it: `milepost wait {command.operation_id}`",
            operation_id=command.operation_id,
        )
    return CancelRequested(reason=command.reason, at_unit=command.at_unit, requested_by=requested_by)


def decide_resume(
    parent: Operation | None,
    command: ResumeOperation,
    identity: CommandIdentity,
    *,
    child_id: str,
    child: Operation | None,
    last_child: Operation | None,
    requested_by: str,
) -> ResumeDecision:
    """Decide a resume.

    ``child_id`` is the operation that this command would create and ``child`` its state if there is one already;
    ``last_child`` is the one that the last accepted resume created (None also while it is only announced).
    """
    if parent is None:
        return operation_not_found(command.operation_id)
    facts = parent.facts
    seen = _seen_before(facts, identity)
    if seen is not None:
        return Repeated(child_id) if isinstance(seen, Repeated) else seen
    if child is not None:
        return command_id_reused(identity.command_id, child_id)
    if facts.imported_from is not None:
        return imported(RejectionCode.NOT_RESUMABLE, command.operation_id)
    if not isinstance(parent, Cancelled | Failed):
        return _not_resumable(parent)
    if facts.child_id is not None and (last_child is None or not is_terminal(last_child)):
        return Rejection(
            RejectionCode.RESUME_IN_PROGRESS,
            f"{facts.operation_id} has been resumed already as {facts.child_id}, which has not ended",
            f"follow that one: `milepost follow {facts.child_id}`",
            operation_id=facts.child_id,
        )
    origin = _choose_origin(facts, command.checkpoint_id)
    if isinstance(origin, Rejection):
        return origin
    own = {"stop_at_unit": None, "accept_environment": False}
    options = command.options or facts.requested.options.model_copy(update=own)
    requested = facts.requested.model_copy(
        update={
            "name": command.name or facts.requested.name,
            "options": options,
            "parent_id": facts.operation_id,
            "root_id": facts.requested.root_id,
            "origin": origin,
            "requested_by": requested_by,
        }
    )
    return Resumed(
        child_id=child_id,
        checkpoint_id=origin.checkpoint_id if origin else None,
        child=requested,
        requested_by=requested_by,
    )


def artifacts_missing(
    operation_id: str, origin: CheckpointOrigin, missing: Iterable[ArtifactReference], facts: Facts
) -> Rejection:
    """Refuse a resume whose checkpoint has lost artifacts; every one is named."""
    names = [artifact.name for artifact in missing]
    others = [
        checkpoint.checkpoint_id
        for checkpoint in _kept_newest_first(facts)
        if checkpoint.checkpoint_id != origin.checkpoint_id
    ]
    fix = (
        f"resume from another checkpoint: {_list(others)}"
        if others
        else "start it anew; no other checkpoint is kept"
    )
    return Rejection(
        RejectionCode.ARTIFACTS_MISSING,
        f"checkpoint {origin.checkpoint_id} cannot be loaded: {_list(names)} not in the store",
        fix,
        tuple(Problem(field=name, message="missing in the store") for name in names),
        operation_id,
    )


def operation_not_found(operation_id: str) -> Rejection:
    """Refuse a command about an operation that does not exist."""
    return Rejection(
        RejectionCode.OPERATION_NOT_FOUND,
        f"there is no operation {operation_id}",
        "list the operations with `milepost ps`",
        operation_id=operation_id,
    )


def imported(code: RejectionCode, operation_id: str) -> Rejection:
    """Refuse a command about an operation that happened elsewhere."""
    return Rejection(
        code,
        f"{operation_id} was imported for reading; it lives where it was exported",
        f"look at it with `milepost events show {operation_id}`, or send the command to its own stack",
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


def _seen_before(facts: Facts, identity: CommandIdentity) -> Repeated | Rejection | None:
    event_id = facts.commands.get(identity.command_id)
    if event_id is None:
        return None
    if event_id == identity.event_id:
        return Repeated(facts.operation_id)
    return command_id_reused(identity.command_id, facts.operation_id)


def _not_resumable(parent: Operation) -> Rejection:
    operation_id = parent.facts.operation_id
    if isinstance(parent, Completed):
        fix = "it did all its units; start a new operation"
    elif isinstance(parent, Cancelling):
        fix = f"wait until it is cancelled: `milepost wait {operation_id}`"
    else:
        fix = f"cancel it first: `milepost cancel {operation_id}`"
    return Rejection(
        RejectionCode.NOT_RESUMABLE,
        f"{operation_id} is {status_of(parent)}; only cancelled and failed operations can be resumed",
        fix,
        operation_id=operation_id,
    )


def _choose_origin(facts: Facts, checkpoint_id: str | None) -> CheckpointOrigin | Rejection | None:
    """Return where the child goes on: the wanted checkpoint, the newest kept one, or the parent's own origin."""
    if checkpoint_id is None:
        newest = facts.newest_kept
        return _origin(facts, newest.checkpoint_id) if newest is not None else facts.origin
    if facts.origin is not None and facts.origin.checkpoint_id == checkpoint_id:
        return facts.origin
    checkpoint = facts.checkpoints.get(checkpoint_id)
    kept = [each.checkpoint_id for each in _kept_newest_first(facts)]
    others = (
        f"choose one of {_list(kept)}" if kept else "leave the checkpoint out: it begins where it did before"
    )
    if checkpoint is None:
        return Rejection(
            RejectionCode.CHECKPOINT_NOT_FOUND,
            f"{facts.operation_id} has no checkpoint {checkpoint_id}",
            others,
            operation_id=facts.operation_id,
        )
    if checkpoint.status is CheckpointStatus.REFUSED:
        return Rejection(
            RejectionCode.ARTIFACTS_MISSING,
            f"checkpoint {checkpoint_id} was refused: {checkpoint.message}",
            others,
            checkpoint.problems,
            facts.operation_id,
        )
    return _origin(facts, checkpoint_id)


def _origin(facts: Facts, checkpoint_id: str) -> CheckpointOrigin:
    checkpoint = facts.checkpoints[checkpoint_id]
    return CheckpointOrigin(
        operation_id=facts.operation_id,
        checkpoint_id=checkpoint_id,
        unit=checkpoint.unit,
        artifacts=checkpoint.artifacts,
        fingerprint=dict(checkpoint.fingerprint),
    )


def _kept_newest_first(facts: Facts) -> list[Checkpoint]:
    kept = [c for c in facts.checkpoints.values() if c.status is not CheckpointStatus.REFUSED]
    return sorted(kept, key=lambda checkpoint: (checkpoint.unit, checkpoint.sequence), reverse=True)


def _what_now(state: Operation) -> str:
    operation_id = state.facts.operation_id
    if isinstance(state, Completed):
        return f"its results are there: `milepost results {operation_id}`"
    return f"nothing is left to stop; `milepost resume {operation_id}` goes on with it"


def _list(words: list[str]) -> str:
    more = f" and {len(words) - NAMED_MAX} more" if len(words) > NAMED_MAX else ""
    return ", ".join(words[:NAMED_MAX]) + more
