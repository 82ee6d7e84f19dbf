"""Who goes on from an operation: its children and theirs, as the log tells it."""

from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.domain.operation import Operation, is_terminal


async def live_descendant(operations: Operations, state: Operation) -> str | None:
    """Return an operation that was made from this one, at any remove, and has not ended; None when there is none.

    At any remove, because a resumed operation that saved nothing leaves its own origin to its child. One that is
    only announced counts as alive.

    Raises:
        BusUnavailableError: the log cannot be read.
    """
    waiting = list(state.facts.children)
    seen = {state.facts.operation_id}
    while waiting:
        operation_id = waiting.pop()
        if operation_id in seen:
            continue
        seen.add(operation_id)
        found = await operations.load(operation_id)
        if found is None or not is_terminal(found):
            return operation_id
        waiting.extend(found.facts.children)
    return None
