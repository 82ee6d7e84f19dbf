"""What to do about a resume, a fork or a retry: each makes a new operation that is linked to its parent.

A resume goes on with a cancelled or failed operation, unchanged, one child at a time. A fork goes on with changed
settings from any operation that has a checkpoint, as often as one likes: it takes nothing from its parent. A retry
does a failed operation again from where that one began. A refused command is data; ids arrive as arguments.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.checkpoints import CheckpointOrigin
from milepost_contracts.commands import ForkOperation, ResumeOperation, RetryOperation, RunOptions
from milepost_contracts.events import CheckpointContinued, Requested, Resumed
from milepost_contracts.failures import Problem, RejectionCode
from milepost_contracts.lineage import Relation

from milepost_orchestrator.domain.forking import Amended
from milepost_orchestrator.domain.operation import (
    Cancelled,
    Cancelling,
    CheckpointStatus,
    Completed,
    Facts,
    Failed,
    Operation,
    is_terminal,
    status_of,
)
from milepost_orchestrator.domain.rejections import (
    CommandIdentity,
    Rejection,
    Repeated,
    command_id_reused,
    listed,
    operation_not_found,
    seen_before,
)

ChildDecision: TypeAlias = Resumed | Repeated | Rejection
OWN_OPTIONS = {"stop_at_unit": None, "accept_environment": False}
"""Options that were meant for the parent only."""


@dataclass(frozen=True, slots=True)
class Kin:
    """Who else a decision about a child is about."""

    child_id: str
    """The operation that the command would create."""
    child: Operation | None = None
    """Its state, if there is one already."""
    last_child: Operation | None = None
    """The one that the last accepted resume or retry created; None also while it is only announced."""


def decide_resume(
    parent: Operation | None,
    command: ResumeOperation,
    identity: CommandIdentity,
    kin: Kin,
    requested_by: str,
) -> ChildDecision:
    """Decide a resume."""
    if parent is None:
        return operation_not_found(command.operation_id)
    facts = parent.facts
    known = _known_already(facts, identity, kin, RejectionCode.NOT_RESUMABLE)
    if known is not None:
        return known
    if not isinstance(parent, Cancelled | Failed):
        return _not_resumable(parent)
    if _has_live_child(facts, kin):
        return _resume_in_progress(facts)
    origin = choose_origin(facts, command.checkpoint_id)
    if isinstance(origin, Rejection):
        return origin
    # Another origin holds what was changed; the same one still does not.
    changed_entries = facts.requested.changed_entries if origin is facts.origin else ()
    return _child(
        facts,
        kin.child_id,
        relation=Relation.RESUME,
        requested_by=requested_by,
        origin=origin,
        name=command.name,
        options=command.options or facts.requested.options.model_copy(update=OWN_OPTIONS),
        changed_entries=changed_entries,
    )


def decide_retry(
    failed: Operation | None,
    command: RetryOperation,
    identity: CommandIdentity,
    kin: Kin,
    requested_by: str,
) -> ChildDecision:
    """Decide a retry: from the failed operation's own beginning, with all of its options."""
    if failed is None:
        return operation_not_found(command.operation_id)
    facts = failed.facts
    known = _known_already(facts, identity, kin, RejectionCode.NOT_RETRYABLE)
    if known is not None:
        return known
    if not isinstance(failed, Failed):
        return _not_retryable(failed)
    if _has_live_child(facts, kin):
        return _resume_in_progress(facts)
    return _child(
        facts,
        kin.child_id,
        relation=Relation.RETRY,
        requested_by=requested_by,
        origin=facts.origin,
        name=command.name,
        options=command.options or facts.requested.options,
        changed_entries=facts.requested.changed_entries,
    )


def decide_fork(
    parent: Operation | None,
    command: ForkOperation,
    identity: CommandIdentity,
    kin: Kin,
    *,
    amended: Amended | Rejection,
    requested_by: str,
) -> ChildDecision:
    """Decide a fork; ``amended`` is the parent's spec with the changes, or why there can be none."""
    if parent is None:
        return operation_not_found(command.operation_id)
    facts = parent.facts
    known = _known_already(facts, identity, kin, RejectionCode.NOTHING_TO_FORK)
    if known is not None:
        return known
    origin = choose_origin(facts, command.checkpoint_id)
    if isinstance(origin, Rejection):
        return origin
    if origin is None:
        return Rejection(
            RejectionCode.NOTHING_TO_FORK,
            f"{facts.operation_id} has no checkpoint to go on from",
            "start a new operation with the changed spec",
            operation_id=facts.operation_id,
        )
    if isinstance(amended, Rejection):
        return amended
    before = facts.requested.changed_entries if origin is facts.origin else ()
    return _child(
        facts,
        kin.child_id,
        relation=Relation.FORK,
        requested_by=requested_by,
        origin=origin,
        name=command.name,
        options=command.options or facts.requested.options.model_copy(update=OWN_OPTIONS),
        spec=amended.spec,
        inputs=amended.inputs,
        changes=amended.changes,
        changed_entries=tuple(sorted({*before, *amended.entries})),
    )


def decide_continuation(
    owner: Operation | None, parent_id: str, decision: Resumed, requested_by: str
) -> CheckpointContinued | Rejection | None:
    """Decide what is said in the operation that the child's checkpoint belongs to, when that is not the parent.

    ``owner`` is that operation; None when there is nothing to say: the checkpoint is the parent's own, there is
    none, or the log does not have its operation (the artifacts alone decide then).
    """
    origin = decision.child.origin
    if owner is None or origin is None:
        return None
    checkpoint = owner.facts.checkpoints.get(origin.checkpoint_id)
    if checkpoint is not None and checkpoint.status is CheckpointStatus.DELETED:
        return Rejection(
            RejectionCode.CHECKPOINT_NOT_FOUND,
            f"{parent_id} has no checkpoint of its own, and the one that it began from,"
            f" {origin.checkpoint_id} of {origin.operation_id}, was deleted",
            "start it anew: `milepost start` with its spec",
            operation_id=parent_id,
        )
    return CheckpointContinued(
        checkpoint_id=origin.checkpoint_id,
        parent_id=parent_id,
        child_id=decision.child_id,
        requested_by=requested_by,
    )


def _known_already(
    facts: Facts, identity: CommandIdentity, kin: Kin, imported: RejectionCode
) -> Repeated | Rejection | None:
    seen = seen_before(facts, identity, imported=imported)
    if seen is not None:
        return Repeated(kin.child_id) if isinstance(seen, Repeated) else seen
    if kin.child is not None:
        return command_id_reused(identity.command_id, kin.child_id)
    return None


def _has_live_child(facts: Facts, kin: Kin) -> bool:
    return facts.child_id is not None and (kin.last_child is None or not is_terminal(kin.last_child))


def _child(
    facts: Facts,
    child_id: str,
    *,
    relation: Relation,
    requested_by: str,
    origin: CheckpointOrigin | None,
    name: str | None,
    options: RunOptions,
    **differing: Any,
) -> Resumed:
    """The event with the whole request of the child: the parent's, with what is the child's own."""
    child: Requested = facts.requested.model_copy(
        update={
            "name": name or facts.requested.name,
            "options": options,
            "parent_id": facts.operation_id,
            "root_id": facts.requested.root_id,
            "origin": origin,
            "requested_by": requested_by,
            "relation": relation,
            "changes": (),
            **differing,
        }
    )
    return Resumed(
        child_id=child_id,
        checkpoint_id=origin.checkpoint_id if origin else None,
        child=child,
        requested_by=requested_by,
        relation=relation,
    )


def _resume_in_progress(facts: Facts) -> Rejection:
    return Rejection(
        RejectionCode.RESUME_IN_PROGRESS,
        f"{facts.operation_id} has been resumed already as {facts.child_id}, which has not ended",
        f"follow that one: `milepost follow {facts.child_id}`",
        operation_id=facts.child_id,
    )


def _not_retryable(state: Operation) -> Rejection:
    operation_id = state.facts.operation_id
    fix = "start a new operation with its spec: `milepost start`"
    if isinstance(state, Cancelled):
        fix = f"resume it: `milepost resume {operation_id}`"
    elif not is_terminal(state):
        fix = f"wait for it: `milepost wait {operation_id}`"
    return Rejection(
        RejectionCode.NOT_RETRYABLE,
        f"{operation_id} is {status_of(state)}; only failed operations can be retried",
        fix,
        operation_id=operation_id,
    )


def artifacts_missing(
    operation_id: str, origin: CheckpointOrigin, missing: Iterable[ArtifactReference], facts: Facts
) -> Rejection:
    """Refuse a resume whose checkpoint has lost artifacts; every one is named."""
    names = [artifact.name for artifact in missing]
    others = [
        checkpoint.checkpoint_id
        for checkpoint in facts.kept_newest_first
        if checkpoint.checkpoint_id != origin.checkpoint_id
    ]
    fix = (
        f"resume from another checkpoint: {listed(others)}"
        if others
        else "start it anew; no other checkpoint is kept"
    )
    return Rejection(
        RejectionCode.ARTIFACTS_MISSING,
        f"checkpoint {origin.checkpoint_id} cannot be loaded: {listed(names)} not in the store",
        fix,
        tuple(Problem(field=name, message="missing in the store") for name in names),
        operation_id,
    )


def _not_resumable(parent: Operation) -> Rejection:
    operation_id = parent.facts.operation_id
    if isinstance(parent, Completed):
        fix = f"it did all its units; go on with changed settings: `milepost fork {operation_id} --set ...`"
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


def choose_origin(facts: Facts, checkpoint_id: str | None) -> CheckpointOrigin | Rejection | None:
    """Return where the child goes on: the wanted checkpoint, the newest kept one, or the parent's own origin."""
    if checkpoint_id is None:
        newest = facts.newest_kept
        return _origin(facts, newest.checkpoint_id) if newest is not None else facts.origin
    if facts.origin is not None and facts.origin.checkpoint_id == checkpoint_id:
        return facts.origin
    checkpoint = facts.checkpoints.get(checkpoint_id)
    kept = [each.checkpoint_id for each in facts.kept_newest_first]
    others = (
        f"choose one of {listed(kept)}" if kept else "leave the checkpoint out: it begins where it did before"
    )
    if checkpoint is None or checkpoint.status is CheckpointStatus.DELETED:
        why = "has no" if checkpoint is None else "has deleted"
        return Rejection(
            RejectionCode.CHECKPOINT_NOT_FOUND,
            f"{facts.operation_id} {why} checkpoint {checkpoint_id}",
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
