"""Parameters that several routes take."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, TypeAlias

from fastapi import Header
from milepost_contracts.ids import TOKEN_PATTERN, CommandId
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from milepost_orchestrator.application.filters import TimeRange
from milepost_orchestrator.application.queries import PAGE_MAX
from milepost_orchestrator.entrypoints.http.paging import CURSOR_CHARACTERS_MAX

IdempotencyKey = Annotated[CommandId | None, Header(alias="Idempotency-Key")]
SearchText: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
"""Postgres takes no NUL."""
Beginning: TypeAlias = Annotated[str, StringConstraints(pattern=TOKEN_PATTERN)]


def _no_number(value: object) -> object:
    """Refuse what pydantic would take for true and false."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError("it is a number, not true or false")  # noqa: TRY004 - pydantic names the field
    return value


def _no_seconds(value: object) -> object:
    """Refuse what pydantic would take for seconds since 1970."""
    if isinstance(value, str) and value.strip().lstrip("+-").replace(".", "", 1).isdigit():
        raise ValueError("it is a number, not a date with a time and a zone")
    return value


Flag: TypeAlias = Annotated[bool, BeforeValidator(_no_number)]
"""In a query it comes as text, in a body it does not."""
Time: TypeAlias = Annotated[
    AwareDatetime,
    BeforeValidator(_no_seconds),
    Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC)),
]
AgeSeconds: TypeAlias = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
SEVERAL_MAX = 100


class Direction(StrEnum):
    """Which comes first."""

    ASCENDING = "asc"
    DESCENDING = "desc"


class FilterQuery(BaseModel):
    """Which ones are meant. An unknown parameter is a typing error and refused as one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ListQuery(FilterQuery):
    """What every list takes beside."""

    order: Direction = Direction.DESCENDING
    """Direction of ``sort``. What has no value counts as the smallest."""
    cursor: Annotated[str, Field(max_length=CURSOR_CHARACTERS_MAX)] | None = None
    """``next_cursor`` of the page before; it keeps its place whatever is added meanwhile."""
    limit: int = Field(default=50, ge=1, le=PAGE_MAX)
    """How many at most."""

    @property
    def is_descending(self) -> bool:
        """Whether the largest comes first."""
        return self.order is Direction.DESCENDING


def time_range(
    now: datetime,
    since: datetime | None,
    before: datetime | None,
    age_seconds_min: float | None = None,
    age_seconds_max: float | None = None,
) -> TimeRange:
    """Return the range that times and ages leave together."""
    if age_seconds_max is not None:
        oldest = now - timedelta(seconds=age_seconds_max)
        since = oldest if since is None else max(since, oldest)
    if age_seconds_min is not None:
        newest = now - timedelta(seconds=age_seconds_min)
        before = newest if before is None else min(before, newest)
    return TimeRange(since, before)
