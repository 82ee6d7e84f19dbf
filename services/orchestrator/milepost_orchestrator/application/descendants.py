"""Who goes on from an operation: its children and theirs, as the log tells it.

A descendant that has saved nothing leaves its own origin to its child. That child is made by an event of the
descendant, which a deletion of the origin could miss; so it is announced in the origin's operation first
(``checkpoint-continued``), at the sequence at which the checkpoint was seen to be there. An announcement that
nothing came of (its writer crashed between the two events, or lost a race) counts for ``ANNOUNCED_SECONDS`` and
never longer; its writer's next event is its very next step, which the bus's patience bounds far below that.
"""

from datetime import datetime, timedelta

from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.domain.operation import Operation, is_terminal

ANNOUNCED_SECONDS = 600.0


async def live_descendant(operations: Operations, state: Operation, now: datetime) -> str | None:
    """Return an operation that goes on from this one, at any remove, and has not ended; None when none does.

    One that is only announced counts as alive.

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
    recently = now - timedelta(seconds=ANNOUNCED_SECONDS)
    announced = (each for each in state.facts.continuations if each.announced_at > recently)
    return next((each.child_id for each in announced if each.child_id not in seen), None)
