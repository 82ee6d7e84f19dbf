"""What to do about a start or a cancel: an event, a repetition or a rejection.

A refused command is data. Nothing here looks at a clock, the bus or the store; ids arrive as arguments.
"""

from typing import TypeAlias

from milepost_contracts.commands import CancelOperation
from milepost_contracts.events import CancelRequested, Requested
from milepost_contracts.failures import RejectionCode

from milepost_orchestrator.domain.evolution import stops_earlier
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
    state: Operation | None, command: CancelOperation, identity: CommandIdentity, requested_by: str
) -> CancelDecision:
    """Decide a cancel."""
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
    if isinstance(state, Cancelling) and not stops_earlier(command.at_unit, state.at_unit):
        when = "" if state.at_unit is None else f" after unit {state.at_unit}"
        return Rejection(
            RejectionCode.ALREADY_CANCELLING,
            f"{command.operation_id} is being cancelled{when} already",
            f"wait for it: `milepost wait {command.operation_id}`",
            operation_id=command.operation_id,
        )
    return CancelRequested(reason=command.reason, at_unit=command.at_unit, requested_by=requested_by)


def _what_now(state: Operation) -> str:
    operation_id = state.facts.operation_id
    if isinstance(state, Completed):
        return f"its results are there: `milepost results {operation_id}`"
    return f"nothing is left to stop; `milepost resume {operation_id}` goes on with it"
