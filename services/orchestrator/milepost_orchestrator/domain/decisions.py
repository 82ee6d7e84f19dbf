"""What to do about a start or a cancel: an event, a repetition or a rejection.

A refused command is data. Nothing here looks at a clock, the bus or the store; ids arrive as arguments.
"""

from datetime import datetime, timedelta
from typing import TypeAlias

from milepost_contracts.commands import CancelOperation
from milepost_contracts.events import Cancelled, CancelRequested, Requested
from milepost_contracts.failures import RejectionCode

from milepost_orchestrator.domain.evolution import ends_earlier, stops_earlier
from milepost_orchestrator.domain.operation import Cancelling, Completed, Operation, is_terminal, status_of
from milepost_orchestrator.domain.rejections import (
    CommandIdentity,
    Rejection,
    Repeated,
    command_id_reused,
    operation_not_found,
    seen_before,
)

StartDecision: TypeAlias = Requested | Repeated | Rejection
CancelDecision: TypeAlias = CancelRequested | Repeated | Rejection


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
    state: Operation | None,
    command: CancelOperation,
    identity: CommandIdentity,
    requested_by: str,
    now: datetime,
) -> CancelDecision:
    """Decide a cancel; its deadline counts from ``now``."""
    if state is None:
        return operation_not_found(command.operation_id)
    seen = seen_before(state.facts, identity, imported=RejectionCode.NOT_CANCELLABLE)
    if seen is not None:
        return seen
    if is_terminal(state):
        return Rejection(
            RejectionCode.NOT_CANCELLABLE,
            f"{command.operation_id} has ended already: {status_of(state)}",
            _what_now(state),
            operation_id=command.operation_id,
        )
    deadline_at = _deadline(command, now)
    if isinstance(state, Cancelling):
        sooner = stops_earlier(command.at_unit, state.at_unit)
        if not sooner and not ends_earlier(deadline_at, state.deadline_at):
            return _already_cancelling(state)
    return CancelRequested(
        reason=command.reason,
        at_unit=command.at_unit,
        deadline_at=deadline_at,
        force=command.force,
        before=status_of(state).value,
        requested_by=requested_by,
    )


def cancelled_by_force(state: Cancelling) -> Cancelled:
    """Return the end of what its worker has not ended in time, as of its newest durable checkpoint."""
    facts, newest = state.facts, state.facts.newest_kept
    origin_unit = facts.origin.unit if facts.origin else 0
    who = f"worker {facts.owner.worker_id} did not end it" if facts.owner else "no worker was there to end it"
    return Cancelled(
        attempt=facts.attempt,
        unit=newest.unit if newest else origin_unit,
        checkpoint_id=facts.shown_checkpoint_id,
        reason=f"{state.reason or 'cancelled on request'}; by force, {who} in time",
        forced=True,
    )


def _deadline(command: CancelOperation, now: datetime) -> datetime | None:
    if command.force:
        return now
    if command.deadline_seconds is None:
        return None
    return now + timedelta(seconds=command.deadline_seconds)


def _already_cancelling(state: Cancelling) -> Rejection:
    operation_id = state.facts.operation_id
    when = "" if state.at_unit is None else f" after unit {state.at_unit}"
    when += "" if state.deadline_at is None else f", by force at {state.deadline_at:%H:%M:%S %Z}"
    fix = f"wait for it: `milepost wait {operation_id}`"
    return Rejection(
        RejectionCode.ALREADY_CANCELLING,
        f"{operation_id} is being cancelled{when} already",
        f"{fix}, or end it now: `milepost cancel {operation_id} --force`",
        operation_id=operation_id,
    )


def _what_now(state: Operation) -> str:
    operation_id = state.facts.operation_id
    if isinstance(state, Completed):
        return f"its results are there: `milepost results {operation_id}`"
    return f"nothing is left to stop; `milepost resume {operation_id}` goes on with it"
