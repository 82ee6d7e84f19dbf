"""Opaque cursors: where the next page begins, for this order and no other."""

import base64
import json
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import Field, TypeAdapter

from milepost_orchestrator.application.filters import CheckpointSort, OperationSort, Order, Position

SortT = TypeVar("SortT", OperationSort, CheckpointSort)
CURSOR_CHARACTERS_MAX = 2000
_NUMBER = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]
_TEXT = Annotated[str, Field(strict=True, pattern=r"^[^\x00]*$")]
_TIME = Annotated[str, Field(pattern=r"^(-infinity|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00)$")]
_CONTENT: TypeAdapter[tuple[str, bool, _TEXT | _NUMBER | None, int]] = TypeAdapter(
    tuple[str, bool, _TEXT | _NUMBER | None, _NUMBER]
)
_VALUES: dict[OperationSort | CheckpointSort, TypeAdapter[Any]] = {
    OperationSort.REQUESTED: TypeAdapter(_NUMBER),
    OperationSort.STARTED: TypeAdapter(_TIME),
    OperationSort.ENDED: TypeAdapter(_TIME),
    OperationSort.NAME: TypeAdapter(_TEXT),
    OperationSort.KIND: TypeAdapter(_TEXT),
    OperationSort.STATUS: TypeAdapter(_TEXT),
    CheckpointSort.SAVED: TypeAdapter(_NUMBER),
    CheckpointSort.SIZE: TypeAdapter(_NUMBER),
    CheckpointSort.UNIT: TypeAdapter(_NUMBER),
}
"""What the sorted column holds: nothing else of a cursor gets as far as the database."""


_TIMES = frozenset({OperationSort.STARTED, OperationSort.ENDED})


def cursor_of(order: Order[SortT], position: Position | None) -> str | None:
    """Return the cursor of the page after ``position``; None after the last page."""
    if position is None:
        return None
    content = [order.sort.value, order.descending, position.value, position.sequence]
    text = json.dumps(content, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def order_of(sort: SortT, *, descending: bool, cursor: str | None) -> Order[SortT]:
    """Return the order that a cursor goes on in.

    Raises:
        RequestValidationError: the cursor is damaged, or of another order.
    """
    if cursor is None:
        return Order(sort, descending)
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found_sort, found_descending, value, sequence = _CONTENT.validate_json(text)
    except ValueError as error:  # base64, JSON and pydantic all raise kinds of it
        raise _fault("it is no ``next_cursor`` of a page") from error
    if (found_sort, found_descending) != (sort.value, descending):
        raise _fault("it goes on in another order than this one: keep ``sort`` and ``order``")
    try:
        _VALUES[sort].validate_python(value)
        if value != "-infinity" and sort in _TIMES:
            datetime.fromisoformat(str(value))
    except ValueError as error:
        raise _fault("it is no ``next_cursor`` of a page") from error
    return Order(sort, descending, Position(value, sequence))


def _fault(words: str) -> RequestValidationError:
    fault: dict[str, Any] = {"type": "cursor", "loc": ("query", "cursor"), "msg": words, "input": None}
    return RequestValidationError([fault])
