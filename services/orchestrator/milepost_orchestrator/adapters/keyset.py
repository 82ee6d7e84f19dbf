"""Keyset paging in SQL: rows after a position, in the order of a column and then of a sequence.

Both go in the same direction and are compared as a row value, so Postgres begins in the middle of an index on both
and reads no row that is not shown.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, cast, tuple_
from sqlalchemy.types import TypeEngine

from milepost_orchestrator.application.filters import POSITION, CheckpointSort, OperationSort, Order, Position


@dataclass(frozen=True, slots=True)
class SortKey:
    """What a list is sorted by."""

    expression: ColumnElement[Any] | None
    """None for the sequence alone."""
    sequence: ColumnElement[int]
    shown: ColumnElement[Any] | None = None
    """The expression in JSON's words, where it is none of them; it must sort back to the very same place."""


def sorted_after(
    query: Select[Any], key: SortKey, order: Order[OperationSort] | Order[CheckpointSort], *, limit: int
) -> Select[Any]:
    """Return the query with its order, its beginning and its limit, and the position of each row."""
    columns = [key.sequence] if key.expression is None else [key.expression, key.sequence]
    shown = key.sequence if key.expression is None else key.shown if key.shown is not None else key.expression
    ordered = query.add_columns(shown.label(POSITION)).order_by(
        *(column.desc() if order.descending else column.asc() for column in columns)
    )
    if order.after is not None:
        ordered = ordered.where(_after(key, order.after, descending=order.descending))
    return ordered.limit(limit)


def _after(key: SortKey, position: Position, *, descending: bool) -> ColumnElement[bool]:
    if key.expression is None:
        return key.sequence < position.sequence if descending else key.sequence > position.sequence
    # Bound as the text it was shown as and cast in SQL: a time keeps its microseconds and its infinity.
    kind: TypeEngine[Any] = key.expression.type
    value = bindparam(
        "position", position.value, type_=(key.shown if key.shown is not None else key.expression).type
    )
    left, right = tuple_(key.expression, key.sequence), tuple_(cast(value, kind), position.sequence)
    return left < right if descending else left > right
