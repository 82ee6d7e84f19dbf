"""The projections in Postgres: rows and cursor change in one transaction.

States go in one statement a table, an array a column; events and metrics, which are never changed, by COPY: three
times as fast as a statement a row. Authority: the cursor's row, locked first, so writers of the same batch queue
up and the second one finds it done. Failures: a transaction that broke off left nothing; one whose commit was not
answered is found done, or is repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import asyncpg
from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.database import database_errors
from milepost_orchestrator.adapters.models import (
    ArtifactModel,
    AttemptModel,
    CheckpointModel,
    EventModel,
    MetricModel,
    Model,
    OperationModel,
)
from milepost_orchestrator.application.errors import CursorMovedError
from milepost_orchestrator.application.projections import Changes
from milepost_orchestrator.application.rows import (
    ArtifactRow,
    AttemptRow,
    CheckpointRow,
    EventRow,
    MetricRow,
    OperationRow,
)

CURSOR = "events"
_DIALECT = postgresql.dialect()


@dataclass(frozen=True, slots=True)
class ProjectedTable:
    """A table whose rows are states: written anew whenever they change."""

    model: type[Model]
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the table."""
        return self.model.__tablename__

    @property
    def key(self) -> tuple[str, ...]:
        """Columns of the primary key."""
        return tuple(column.name for column in self.model.__table__.primary_key)

    @property
    def upsert(self) -> str:
        """SQL that writes any number of rows, given as one array a column."""
        types = [self.model.__table__.columns[name].type.compile(_DIALECT) for name in self.columns]
        arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, 1))
        names = ", ".join(self.columns)
        changed = ", ".join(f"{name} = EXCLUDED.{name}" for name in self.columns if name not in self.key)
        return (
            f"INSERT INTO {self.name} ({names}) SELECT * FROM unnest({arrays}) "  # noqa: S608 - our own names
            f"ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {changed}"
        )


OPERATIONS = ProjectedTable(OperationModel, OperationRow._fields)
ATTEMPTS = ProjectedTable(AttemptModel, AttemptRow._fields)
CHECKPOINTS = ProjectedTable(CheckpointModel, CheckpointRow._fields)
ARTIFACTS = ProjectedTable(ArtifactModel, ArtifactRow._fields)
METRICS = ProjectedTable(MetricModel, MetricRow._fields)
EVENTS = ProjectedTable(EventModel, EventRow._fields)
TABLES = (OPERATIONS, ATTEMPTS, CHECKPOINTS, ARTIFACTS, METRICS, EVENTS)
_UPSERTS = {table.name: table.upsert for table in (OPERATIONS, ATTEMPTS, CHECKPOINTS, ARTIFACTS)}


class PostgresProjectionStore:
    """Implements ``ProjectionStore``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def cursor(self) -> int:
        """Return the last sequence that was applied; see the port."""
        with database_errors("read the cursor"):
            async with self._engine.connect() as connection:
                found = await connection.execute(
                    text("SELECT sequence FROM projection_cursor WHERE name = :name"), {"name": CURSOR}
                )
                return found.scalar_one()

    async def apply(self, changes: Changes, *, cursor_min: int) -> bool:
        """Write the rows and move the cursor; see the port."""
        with database_errors("project"):
            async with self._engine.connect() as pooled:
                # COPY is asyncpg's own; SQLAlchemy lends its connection and has no transaction open on it.
                driver = (await pooled.get_raw_connection()).driver_connection
                if not isinstance(driver, asyncpg.Connection):
                    raise TypeError("the database URL must use asyncpg")
                async with driver.transaction():
                    return await _write(driver, changes, cursor_min)


async def _write(driver: asyncpg.Connection, changes: Changes, cursor_min: int) -> bool:
    cursor = cast(
        "int | None",
        await driver.fetchval("SELECT sequence FROM projection_cursor WHERE name = $1 FOR UPDATE", CURSOR),
    )
    if cursor is None or cursor < cursor_min:
        raise CursorMovedError(f"it is {cursor} and was {cursor_min}")
    if cursor >= changes.last_sequence:
        return False
    states: tuple[tuple[ProjectedTable, Sequence[tuple[object, ...]]], ...] = (
        (OPERATIONS, changes.operations),
        (ATTEMPTS, changes.attempts),
        (CHECKPOINTS, changes.checkpoints),
        (ARTIFACTS, changes.artifacts),
    )
    for table, rows in states:
        if rows:
            await driver.execute(_UPSERTS[table.name], *zip(*rows, strict=True))
    # A cursor within the batch: states are those at its end in any case, but these rows are there already.
    await _append(driver, METRICS, [row for row in changes.metrics if row.sequence > cursor])
    await _append(driver, EVENTS, [row for row in changes.events if row.sequence > cursor])
    await driver.execute(
        "UPDATE projection_cursor SET sequence = $2 WHERE name = $1", CURSOR, changes.last_sequence
    )
    return True


async def _append(
    driver: asyncpg.Connection, table: ProjectedTable, rows: Sequence[tuple[object, ...]]
) -> None:
    if rows:
        await driver.copy_records_to_table(table.name, records=rows, columns=table.columns)
