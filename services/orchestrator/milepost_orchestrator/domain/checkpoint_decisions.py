"""What to do about a command that is about checkpoints: save one now, pin, unpin, delete.

A refused command is data. Nothing here looks at a clock, the bus or the store; ids arrive as arguments.
"""

from typing import TypeAlias

from milepost_contracts.commands import CheckpointNow, DeleteCheckpoint, PinCheckpoint, UnpinCheckpoint
from milepost_contracts.events import (
    CheckpointDeleted,
    CheckpointPinned,
    CheckpointRequested,
    CheckpointUnpinned,
)
from milepost_contracts.failures import RejectionCode

from milepost_orchestrator.domain.operation import (
    Cancelling,
    Checkpoint,
    CheckpointStatus,
    Facts,
    Operation,
    Queued,
    Running,
    is_terminal,
    status_of,
)
from milepost_orchestrator.domain.rejections import (
    CommandIdentity,
    Rejection,
    Repeated,
    listed,
    operation_not_found,
    seen_before,
)

PinDecision: TypeAlias = CheckpointPinned | CheckpointUnpinned | Repeated | Rejection


def decide_checkpoint_now(
    state: Operation | None, command: CheckpointNow, identity: CommandIdentity, requested_by: str
) -> CheckpointRequested | Repeated | Rejection:
    """Decide a checkpoint on request: only a worker that is at it can save one."""
    if state is None:
        return operation_not_found(command.operation_id)
    seen = seen_before(state.facts, identity, imported=RejectionCode.NOT_RUNNING)
    if seen is not None:
        return seen
    if not isinstance(state, Running):
        return _not_running(state)
    return CheckpointRequested(reason=command.reason, requested_by=requested_by)


def decide_pin(
    state: Operation | None,
    command: PinCheckpoint | UnpinCheckpoint,
    identity: CommandIdentity,
    requested_by: str,
) -> PinDecision:
    """Decide a pin or its removal; whatever the operation is doing."""
    if state is None:
        return operation_not_found(command.operation_id)
    seen = seen_before(state.facts, identity, imported=RejectionCode.CHECKPOINT_IN_USE)
    if seen is not None:
        return seen
    checkpoint = kept_checkpoint(state.facts, command.checkpoint_id)
    if isinstance(checkpoint, Rejection):
        return checkpoint
    wanted = isinstance(command, PinCheckpoint)
    if checkpoint.pinned == wanted:
        return Rejection(
            RejectionCode.PIN_UNCHANGED,
            f"checkpoint {command.checkpoint_id} is {'pinned already' if wanted else 'not pinned'}",
            "nothing needs to be done",
            operation_id=command.operation_id,
        )
    event = CheckpointPinned if wanted else CheckpointUnpinned
    return event(checkpoint_id=command.checkpoint_id, reason=command.reason, requested_by=requested_by)


def decide_delete(
    state: Operation | None,
    command: DeleteCheckpoint,
    identity: CommandIdentity,
    *,
    live_descendant: str | None,
    requested_by: str,
) -> CheckpointDeleted | Repeated | Rejection:
    """Decide a deletion; ``live_descendant`` is an operation that goes on from this one and has not ended."""
    if state is None:
        return operation_not_found(command.operation_id)
    facts = state.facts
    seen = seen_before(facts, identity, imported=RejectionCode.CHECKPOINT_IN_USE)
    if seen is not None:
        return seen
    checkpoint = kept_checkpoint(facts, command.checkpoint_id, refused_too=True)
    if isinstance(checkpoint, Rejection):
        return checkpoint
    in_use = why_in_use(state, live_descendant)
    if in_use is not None:
        return in_use
    if checkpoint.pinned:
        return Rejection(
            RejectionCode.CHECKPOINT_PINNED,
            f"checkpoint {checkpoint.checkpoint_id} is pinned",
            f"unpin it first: `milepost checkpoints unpin {checkpoint.checkpoint_id}`",
            operation_id=facts.operation_id,
        )
    return CheckpointDeleted(
        checkpoint_id=checkpoint.checkpoint_id,
        manifest_key=checkpoint.manifest_key,
        size_bytes=checkpoint.size_bytes,
        reason=command.reason,
        requested_by=requested_by,
    )


def why_in_use(state: Operation, live_descendant: str | None) -> Rejection | None:
    """Return why no checkpoint of the operation may be removed; None when they may."""
    operation_id = state.facts.operation_id
    if not is_terminal(state):
        return Rejection(
            RejectionCode.CHECKPOINT_IN_USE,
            f"{operation_id} is {status_of(state)}: it may have to go on from any of its checkpoints",
            f"wait until it has ended: `milepost wait {operation_id}`",
            operation_id=operation_id,
        )
    if live_descendant is not None:
        return Rejection(
            RejectionCode.CHECKPOINT_IN_USE,
            f"{live_descendant} goes on from {operation_id} and has not ended",
            f"wait until it has ended: `milepost wait {live_descendant}`",
            operation_id=live_descendant,
        )
    return None


def kept_checkpoint(facts: Facts, checkpoint_id: str, *, refused_too: bool = False) -> Checkpoint | Rejection:
    """Return a checkpoint that is there; one that was deleted, or was never kept, is not."""
    checkpoint = facts.checkpoints.get(checkpoint_id)
    gone = {CheckpointStatus.DELETED} if refused_too else {CheckpointStatus.DELETED, CheckpointStatus.REFUSED}
    if checkpoint is not None and checkpoint.status not in gone:
        return checkpoint
    kept = [each.checkpoint_id for each in facts.kept_newest_first]
    why = f"was {checkpoint.status.value}" if checkpoint is not None else "is not one of"
    return Rejection(
        RejectionCode.CHECKPOINT_NOT_FOUND,
        f"checkpoint {checkpoint_id} {why} {facts.operation_id}"
        if checkpoint is None
        else f"checkpoint {checkpoint_id} of {facts.operation_id} {why}",
        f"choose one of {listed(kept)}" if kept else f"{facts.operation_id} has none that is kept",
        operation_id=facts.operation_id,
    )


def _not_running(state: Operation) -> Rejection:
    operation_id = state.facts.operation_id
    if isinstance(state, Queued):
        fix = "it waits for a worker and has nothing new to save; `milepost show` names its newest checkpoint"
    elif isinstance(state, Cancelling):
        fix = f"it saves one when it stops: `milepost wait {operation_id}`"
    else:
        fix = f"it has ended; `milepost checkpoints list --operation {operation_id}` lists what it left"
    return Rejection(
        RejectionCode.NOT_RUNNING,
        f"{operation_id} is {status_of(state)}; only a running operation can save a checkpoint",
        fix,
        operation_id=operation_id,
    )
