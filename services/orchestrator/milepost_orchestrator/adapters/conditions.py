"""Conditions that lists filter by."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func
from sqlalchemy.orm import InstrumentedAttribute

from milepost_orchestrator.application.filters import TimeRange

_ESCAPE = "\\"


def one_of(column: InstrumentedAttribute[Any], values: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    """Yield the condition that a column is one of the values; nothing when there are none."""
    if len(values) == 1:
        yield column == values[0]
    elif values:
        yield column.in_(values)


def equal(column: InstrumentedAttribute[Any], value: str | None) -> Iterator[ColumnElement[bool]]:
    """Yield the condition that a column has the value; nothing when there is none."""
    if value is not None:
        yield column == value


def within(column: InstrumentedAttribute[Any], times: TimeRange) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions that a time is in a range."""
    if times.since is not None:
        yield column >= times.since
    if times.before is not None:
        yield column < times.before


def begins(column: InstrumentedAttribute[Any], value: str | None) -> Iterator[ColumnElement[bool]]:
    """Yield the condition that a text begins with the value."""
    if value is not None:
        yield column.like(_literal(value) + "%", escape=_ESCAPE)


def contains(column: ColumnElement[Any] | InstrumentedAttribute[Any], value: str) -> ColumnElement[bool]:
    """Return the condition that a text, in small letters already, contains the value in any case."""
    return column.like(func.lower("%" + _literal(value) + "%"), escape=_ESCAPE)


def _literal(value: str) -> str:
    for character in (_ESCAPE, "%", "_"):
        value = value.replace(character, _ESCAPE + character)
    return value
