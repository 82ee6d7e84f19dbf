"""Fold a recorded history with the code of today."""

from pathlib import Path

from milepost_orchestrator.application.operations import recorded
from milepost_orchestrator.domain.evolution import evolve
from milepost_orchestrator.domain.operation import Operation
from milepost_runtime.history.files import read_history
from milepost_runtime.stored_events import entry_of


def fold_history(path: Path) -> dict[str, Operation]:
    """The state of each operation after all of its events."""
    with path.open("rb") as file:
        _, events, _ = read_history(file)
    states: dict[str, Operation] = {}
    for stored in events:
        state = evolve(states.get(stored.operation_id), recorded(entry_of(stored)))
        if state is not None:
            states[stored.operation_id] = state
    return states
