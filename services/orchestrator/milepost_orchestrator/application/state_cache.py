"""States of the operations that were heard of last, so that a batch of events need not read what was before it."""

from collections import OrderedDict
from dataclasses import dataclass, field

from milepost_orchestrator.application.event_counts import EventCount
from milepost_orchestrator.application.rows import OperationConstants
from milepost_orchestrator.domain.operation import Operation, is_terminal

OPERATIONS_MAX = 20_000
"""So many states are kept; some ten kilobytes each."""
ENDED_MAX = 500
"""So many of them of ended operations, which hear of their last checkpoints soon, and then of little else."""
PARTS_MAX = 100_000
"""Checkpoints and attempts of all states that are kept; a kilobyte or two each."""


@dataclass(slots=True)
class Known:
    """An operation as far as it was folded."""

    state: Operation | None
    constants: OperationConstants | None = None
    parts: int = 0
    """Checkpoints and attempts, when it was weighed."""
    count: EventCount = field(default_factory=EventCount)


class StateCache:
    """Any other state is folded from the log again."""

    def __init__(
        self, operations_max: int = OPERATIONS_MAX, parts_max: int = PARTS_MAX, ended_max: int = ENDED_MAX
    ) -> None:
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._operations_max = operations_max
        self._parts_max = parts_max
        self._ended_max = ended_max
        self._parts = 0

    def __contains__(self, operation_id: str) -> bool:
        return operation_id in self._known

    def get(self, operation_id: str) -> Known:
        """Return what is known; the operation counts as just heard of."""
        known = self._known.get(operation_id)
        if known is None:
            known = self._known[operation_id] = Known(None)
        self._known.move_to_end(operation_id)
        return known

    def put(self, operation_id: str, state: Operation | None, count: EventCount) -> None:
        """Set an operation's state, and how many events led to it."""
        known = self.get(operation_id)
        known.state, known.count = state, count

    def weigh(self, operation_id: str, known: Known) -> None:
        """Look how large a state has become, and whether the operation has ended."""
        facts = known.state.facts if known.state is not None else None
        parts = len(facts.checkpoints) + len(facts.attempts) if facts is not None else 0
        self._parts += parts - known.parts
        known.parts = parts
        if known.state is not None and is_terminal(known.state):
            self._ended[operation_id] = None
            self._ended.move_to_end(operation_id)

    def trim(self) -> None:
        """Forget the first of too many that have ended, then whoever was not heard of for the longest time.

        The last one stays, however large.
        """
        while len(self._ended) > self._ended_max:
            self._forget(next(iter(self._ended)))
        while len(self._known) > self._operations_max or (
            self._parts > self._parts_max and len(self._known) > 1
        ):
            self._forget(next(iter(self._known)))

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._ended.clear()
        self._parts = 0

    def _forget(self, operation_id: str) -> None:
        self._ended.pop(operation_id, None)
        self._parts -= self._known.pop(operation_id).parts
