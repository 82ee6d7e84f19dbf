"""Waymarks as rows: the state in JSON, compressed, and a digest of the code that folded it."""

import hashlib
import zlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import milepost_contracts
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from milepost_orchestrator import domain
from milepost_orchestrator.application import operations
from milepost_orchestrator.application.waymarks import Waymark
from milepost_orchestrator.domain.operation import (
    Cancelled,
    Cancelling,
    Completed,
    Failed,
    Operation,
    Queued,
    Running,
    Status,
    status_of,
)

COMPRESSION = 1
_STATES: dict[Status, type[Operation]] = {
    Status.QUEUED: Queued,
    Status.RUNNING: Running,
    Status.CANCELLING: Cancelling,
    Status.CANCELLED: Cancelled,
    Status.COMPLETED: Completed,
    Status.FAILED: Failed,
}


class WaymarkRow(NamedTuple):
    """One waymark."""

    operation_id: str
    number: int
    folded_by: str
    sequence: int
    event_id: str
    first_sequence: int
    latest_time: datetime
    status: str
    state: bytes


def waymark_row(waymark: Waymark) -> WaymarkRow:
    """Return the row of a waymark."""
    status = status_of(waymark.state)
    text = to_json(waymark.state, inf_nan_mode="strings")  # as on the bus: JSON has no word for them
    return WaymarkRow(
        operation_id=waymark.operation_id,
        number=waymark.number,
        folded_by=folded_by(),
        sequence=waymark.sequence,
        event_id=waymark.event_id,
        first_sequence=waymark.first_sequence,
        latest_time=waymark.latest_time,
        status=status.value,
        state=zlib.compress(text, COMPRESSION),
    )


def waymark_of(row: WaymarkRow) -> Waymark | None:
    """Return the waymark of a row; None when it was folded by other code, or cannot be read."""
    if row.folded_by != folded_by():
        return None
    try:
        text = zlib.decompress(row.state)
        state: Operation = _adapter(Status(row.status)).validate_json(text)
    except (zlib.error, ValidationError, ValueError):
        return None
    return Waymark(
        operation_id=row.operation_id,
        number=row.number,
        sequence=row.sequence,
        event_id=row.event_id,
        first_sequence=row.first_sequence,
        latest_time=row.latest_time,
        state=state,
        state_bytes=len(text),
    )


@cache
def folded_by() -> str:
    """Return a digest of all code that has a part in folding: events, their versions, the fold, this form."""
    packages = (milepost_contracts, domain)
    paths = [path for each in packages for path in Path(str(each.__file__)).parent.glob("*.py")]
    digest = hashlib.sha256()
    for path in (*sorted(paths), Path(operations.__file__), Path(__file__)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def _adapter(status: Status) -> TypeAdapter[Any]:
    return TypeAdapter(_STATES[status])
