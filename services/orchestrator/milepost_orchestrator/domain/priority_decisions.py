"""What to do about a change of priority: only what waits has a place in the queue."""

from typing import TypeAlias

from milepost_contracts.commands import PrioritizeOperation
from milepost_contracts.events import Prioritized
from milepost_contracts.failures import RejectionCode

from milepost_orchestrator.domain.operation import Operation, Queued, status_of
from milepost_orchestrator.domain.rejections import (
    CommandIdentity,
    Rejection,
    Repeated,
    operation_not_found,
    seen_before,
)

PriorityDecision: TypeAlias = Prioritized | Repeated | Rejection


def decide_prioritize(
    state: Operation | None, command: PrioritizeOperation, identity: CommandIdentity, requested_by: str
) -> PriorityDecision:
    """Decide a change of priority."""
    if state is None:
        return operation_not_found(command.operation_id)
    seen = seen_before(state.facts, identity, imported=RejectionCode.NOT_QUEUED)
    if seen is not None:
        return seen
    if not isinstance(state, Queued):
        return Rejection(
            RejectionCode.NOT_QUEUED,
            f"{command.operation_id} is {status_of(state)}; only what waits has a place in the queue",
            "look at what waits with `milepost ps --status queued`",
            operation_id=command.operation_id,
        )
    before = state.facts.priority
    if before == command.priority:
        return Rejection(
            RejectionCode.PRIORITY_UNCHANGED,
            f"{command.operation_id} has priority {before} already",
            "nothing needs to be done",
            operation_id=command.operation_id,
        )
    return Prioritized(
        priority=command.priority, before=before, reason=command.reason, requested_by=requested_by
    )
