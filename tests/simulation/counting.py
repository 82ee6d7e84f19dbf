"""What simulated operations compute: a chain of digests, so that any unit done twice or left out shows."""

import hashlib
import json
from collections.abc import Callable

from milepost_contracts.events import Requested


def next_state(state: str, unit: int, seconds: float) -> str:
    """Return the state after one more unit."""
    return hashlib.sha256(f"{state} {unit} {seconds}".encode()).hexdigest()


def content(unit: int, state: str) -> bytes:
    """Return the bytes of a checkpoint or a result."""
    return json.dumps({"unit": unit, "state": state}).encode()


def undisturbed(requested: Callable[[str], Requested], operation_id: str, unit: int) -> str:
    """Return the state of an operation at a unit, as if nothing had ever been cut off."""
    request = requested(operation_id)
    state, done = "", 0
    if request.origin is not None and unit >= request.origin.unit:
        done = request.origin.unit
        state = undisturbed(requested, request.origin.operation_id, done)
    for each in range(done + 1, unit + 1):
        state = next_state(state, each, float(request.spec["seconds"]))
    return state
