"""Columns of the list: which there are, which are chosen, and how an address and a cookie name them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

COOKIE = "milepost-columns"
SEPARATOR = "."
"""In an address and in a cookie as it is, without an escape."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the list."""

    name: str
    title: str
    sort: str | None = None
    is_fixed: bool = False
    """It cannot be left out."""
    is_default: bool = False
    is_number: bool = False
    is_time: bool = False
    field: str = ""
    """Of the operation's document, where the cell is no more than that."""
    hint: str = ""

    @property
    def css(self) -> str:
        """Classes of its cells."""
        return f"col-{self.name} number" if self.is_number or self.is_time else f"col-{self.name}"


COLUMNS = (
    Column("status", "Status", "status", is_fixed=True),
    Column("name", "Operation", "name", is_fixed=True),
    Column("progress", "Progress", is_default=True),
    Column("trend", "Trend", is_default=True, hint="the main metric"),
    Column("rate", "Rate", is_default=True, is_number=True),
    Column("left", "Time left", is_default=True, is_number=True),
    Column(
        "checkpoint",
        "Checkpoint",
        is_default=True,
        is_time=True,
        field="newest_checkpoint_at",
        hint="the newest",
    ),
    Column("event", "Last event", is_default=True, is_time=True, field="last_event_at"),
    Column("worker", "Worker", field="worker_id"),
    Column("attempt", "Attempt", is_number=True, field="attempt"),
    Column("queue", "Queue", field="queue"),
    Column("priority", "Priority", is_number=True, field="priority"),
    Column("by", "Requested by", field="requested_by"),
    Column("reason", "Reason", field="reason", hint="why it was cancelled or failed"),
    Column("requested", "Requested", "requested", is_default=True, is_time=True, field="requested_at"),
    Column("started", "Started", "started", is_time=True, field="started_at"),
    Column("ended", "Ended", "ended", is_time=True, field="ended_at"),
)
DEFAULT = tuple(column.name for column in COLUMNS if column.is_default)


def columns_of(told: str | None) -> Sequence[Column]:
    """Return the columns that an address names, in their own order; names that are none count for nothing."""
    wanted = frozenset(DEFAULT if told is None else told.split(SEPARATOR))
    return tuple(column for column in COLUMNS if column.is_fixed or column.name in wanted)


def told_of(names: Iterable[str]) -> str:
    """Return how an address names these columns; ``none`` when there are only the fixed ones."""
    wanted = frozenset(names)
    kept = (column.name for column in COLUMNS if column.name in wanted and not column.is_fixed)
    return SEPARATOR.join(kept) or "none"
