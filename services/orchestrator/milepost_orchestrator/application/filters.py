"""Which operations and checkpoints a list holds, in which order, and where its next page begins.

A page goes on after a position: the sorted column's value and the sequence of the last row shown. So what is added
or removed meanwhile never makes a row appear twice or be missed. What has no value counts as the smallest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From a time on, before a time; None is open."""

    since: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class OperationFilter:
    """Which operations; what is empty does not matter."""

    operation_ids: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    worker_ids: tuple[str, ...] = ()
    id_begins: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    name: str | None = None
    """Part of the name, in any case."""
    reason: str | None = None
    """Part of why it was cancelled or failed, in any case."""
    requested: TimeRange = TimeRange()
    started: TimeRange = TimeRange()
    ended: TimeRange = TimeRange()


@dataclass(frozen=True, slots=True)
class CheckpointFilter:
    """Which checkpoints; what is empty does not matter."""

    operation_id: str | None = None
    operations: OperationFilter | None = None
    """Of all operations that this one fits."""
    root_id: str | None = None
    """Of all operations that descend from this one."""
    kinds: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    worker_ids: tuple[str, ...] = ()
    """Saved by one of these workers."""
    id_begins: str | None = None
    name: str | None = None
    """Part of the operation's name, in any case."""
    saved: TimeRange = TimeRange()


class OperationSort(StrEnum):
    """What operations can be sorted by. Progress is not among it: it changes while one reads page after page."""

    REQUESTED = "requested"
    STARTED = "started"
    ENDED = "ended"
    NAME = "name"
    KIND = "kind"
    STATUS = "status"


class CheckpointSort(StrEnum):
    """What checkpoints can be sorted by."""

    SAVED = "saved"
    SIZE = "size"
    UNIT = "unit"


SortT = TypeVar("SortT", OperationSort, CheckpointSort)
POSITION = "position"
"""Column of a list's rows: the value that the list is sorted by, as ``Position`` holds it."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended."""

    value: str | int | None
    """The last row's value of the sorted column; None for a list in the order of sequences."""
    sequence: int


@dataclass(frozen=True, slots=True)
class Order(Generic[SortT]):
    """By what, in which direction, and after which position."""

    sort: SortT
    descending: bool = True
    after: Position | None = None


def position_of(row: Mapping[str, Any], sequence_column: str) -> Position:
    """Return the position of a list's row."""
    return Position(row[POSITION], row[sequence_column])
