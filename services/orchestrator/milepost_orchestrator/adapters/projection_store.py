"""The projections in Postgres: rows and cursor change in one transaction.

States go in one statement a table, an array a column; events and metrics, which are never changed, by COPY: three
times as fast as a statement a row. Authority: the cursor's row, locked first, so writers of the same batch queue
up and the second one finds it done. Failures: a transaction that broke off left nothing; one whose commit was not
answered is found done, or is repeated.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import cast

import asyncpg
from sqlalchemy import func, select, text, true
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.database import database_errors, driver_of
from milepost_orchestrator.adapters.models import (
    ArtifactModel,
    AttemptModel,
    CheckpointModel,
    EventModel,
    MetricModel,
    Model,
    OperationModel,
    QuarantineModel,
    WaymarkModel,
)
from milepost_orchestrator.adapters.waymark_rows import WaymarkRow, folded_by, waymark_row
from milepost_orchestrator.application.errors import CursorMovedError, UnwritableError
from milepost_orchestrator.application.projections import Changes
from milepost_orchestrator.application.rows import (
    ArtifactRow,
    AttemptRow,
    CheckpointRow,
    EventRow,
    MetricRow,
    OperationRow,
    QuarantineRow,
)
from milepost_orchestrator.application.waymarks import Waymark

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
QUARANTINE = ProjectedTable(QuarantineModel, QuarantineRow._fields)
WAYMARKS = ProjectedTable(WaymarkModel, WaymarkRow._fields)
TABLES = (OPERATIONS, ATTEMPTS, CHECKPOINTS, ARTIFACTS, METRICS, EVENTS, QUARANTINE)
_UPSERTS = {table.name: table.upsert for table in (OPERATIONS, ATTEMPTS, CHECKPOINTS, ARTIFACTS)}
_REFUSED = (asyncpg.DataError, asyncpg.ProgramLimitExceededError, OverflowError)
"""What Postgres, or asyncpg before it, says of a value that it cannot hold."""

_EVENTS_THERE = """
SELECT coalesce(array_agg(sequence), '{}') FROM operation_events WHERE sequence > $1 AND sequence <= $2
"""
_METRICS_THERE = """
SELECT coalesce(array_agg(DISTINCT sequence), '{}') FROM metrics
WHERE sequence > $1 AND sequence <= $2 AND operation_id = ANY($3)
"""
_DELETE_CHECKPOINTS = tuple(
    f"DELETE FROM {table.name} WHERE (operation_id, checkpoint_id) IN "  # noqa: S608 - our own names
    "(SELECT * FROM unnest($1::text[], $2::text[]))"
    for table in (ARTIFACTS, CHECKPOINTS)
)


async def _whole(driver: asyncpg.Connection, waymarks: Sequence[Waymark]) -> list[Waymark]:
    """Return those of operations of which nothing is in quarantine: the log's own fold knows such events."""
    if not waymarks:
        return []
    query = "SELECT DISTINCT operation_id FROM quarantine WHERE operation_id = ANY($1)"
    operation_ids = [each.operation_id for each in waymarks]
    found = cast("Sequence[Mapping[str, str]]", await driver.fetch(query, operation_ids))
    amiss = {row["operation_id"] for row in found}
    return [each for each in waymarks if each.operation_id not in amiss]


async def write_waymarks(driver: asyncpg.Connection, waymarks: Sequence[Waymark]) -> None:
    """Write some, and drop what other code has folded of the same operations."""
    if not waymarks:
        return
    await driver.execute(
        "DELETE FROM waymarks WHERE operation_id = ANY($1) AND folded_by <> $2",
        list({each.operation_id for each in waymarks}),
        folded_by(),
    )
    await driver.execute(WAYMARKS.upsert, *zip(*map(waymark_row, waymarks), strict=True))


class PostgresProjectionStore:
    """Implements ``ProjectionStore``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._generation: int | None = None
        """Of the read models whose cursor was read last."""

    async def cursor(self) -> int:
        """Return the last sequence that was applied; see the port."""
        with database_errors("read the cursor"):
            async with self._engine.connect() as connection:
                found = await connection.execute(
                    text("SELECT sequence, generation FROM projection_cursor WHERE name = :name"),
                    {"name": CURSOR},
                )
                sequence, self._generation = found.one()
                return sequence

    async def quarantined_operations(self) -> int:
        """Return how many operations have events in quarantine; see the port."""
        with database_errors("read the quarantine"):
            async with self._engine.connect() as connection:
                counted = select(func.count(QuarantineModel.operation_id.distinct()))
                return (await connection.scalars(counted)).one()

    async def quarantined(
        self, *, after: str, up_to: str | None = None, limit: int
    ) -> Mapping[str, frozenset[int]]:
        """Return the sequences in quarantine by operation, page by page; see the port."""
        operation_id = QuarantineModel.operation_id
        query = (
            select(operation_id, func.array_agg(QuarantineModel.sequence))
            .where(operation_id > after, true() if up_to is None else operation_id <= up_to)
            .group_by(operation_id)
            .order_by(operation_id)
            .limit(limit)
        )
        with database_errors("read the quarantine"):
            async with self._engine.connect() as connection:
                found = await connection.execute(query)
                return {each: frozenset(sequences) for each, sequences in found}

    async def quarantined_of(self, operation_id: str) -> frozenset[int]:
        """Return the sequences of one operation that are in quarantine; see the port."""
        with database_errors("read the quarantine"):
            async with self._engine.connect() as connection:
                found = await connection.scalars(
                    select(QuarantineModel.sequence).where(QuarantineModel.operation_id == operation_id)
                )
                return frozenset(found)

    async def apply(self, changes: Changes, *, cursor_min: int) -> bool:
        """Write the rows and move the cursor; see the port."""
        async with self._transaction("project") as driver:
            cursor, generation = await locked_cursor(driver)
            if cursor < cursor_min:
                raise CursorMovedError(f"it is {cursor} and was {cursor_min}")
            if self._generation is not None and generation != self._generation:
                raise CursorMovedError("other read models took their place, or operations were written anew")
            if cursor >= changes.last_sequence:
                return False
            there = await _beyond_cursor(driver, changes, cursor)
            await _write_rows(driver, changes, after_sequence=cursor, there=there)
            await _move_cursor(driver, changes.last_sequence)
            return True

    async def replace(self, operation_id: str, rows: Callable[[int], Awaitable[Changes]]) -> Changes:
        """Write all rows of one operation anew; see the port."""
        async with self._transaction("write an operation anew") as driver:
            cursor, generation = await locked_cursor(driver)
            changes = await rows(cursor)
            for table in (*TABLES, WAYMARKS):
                await driver.execute(f"DELETE FROM {table.name} WHERE operation_id = $1", operation_id)  # noqa: S608 - our own names
            await _write_rows(driver, changes, after_sequence=0)
            await driver.execute(
                "UPDATE projection_cursor SET generation = $2 WHERE name = $1", CURSOR, generation + 1
            )
            return changes

    async def restore(self, operation_ids: Sequence[str], changes: Changes, *, cursor: int) -> None:
        """Write all rows of some operations anew; see the port."""
        async with self._transaction("write archived operations") as driver:
            found, _ = await locked_cursor(driver)
            if found != cursor:
                raise CursorMovedError(f"it is {found} and was {cursor}")
            for table in (*TABLES, WAYMARKS):
                await driver.execute(
                    f"DELETE FROM {table.name} WHERE operation_id = ANY($1)",  # noqa: S608 - our own names
                    operation_ids,
                )
            await _write_rows(driver, changes, after_sequence=0)

    async def advance(self, sequence: int) -> None:
        """Move the cursor forward; see the port."""
        async with self._transaction("move the cursor") as driver:
            cursor, _ = await locked_cursor(driver)
            if cursor < sequence:
                await _move_cursor(driver, sequence)

    @asynccontextmanager
    async def _transaction(self, what: str) -> AsyncGenerator[asyncpg.Connection]:
        with database_errors(what):
            async with self._engine.connect() as pooled:
                driver = await driver_of(pooled)  # COPY is asyncpg's own
                async with driver.transaction():
                    yield driver


async def locked_cursor(driver: asyncpg.Connection) -> tuple[int, int]:
    """Return sequence and generation; whoever else wants them waits until the transaction ends."""
    row = cast(
        "Mapping[str, int] | None",
        await driver.fetchrow(
            "SELECT sequence, generation FROM projection_cursor WHERE name = $1 FOR UPDATE", CURSOR
        ),
    )
    if row is None:
        raise CursorMovedError("it is gone")
    return row["sequence"], row["generation"]


async def _move_cursor(driver: asyncpg.Connection, sequence: int) -> None:
    await driver.execute("UPDATE projection_cursor SET sequence = $2 WHERE name = $1", CURSOR, sequence)


async def _beyond_cursor(driver: asyncpg.Connection, changes: Changes, cursor: int) -> frozenset[int]:
    """Return the events of a batch whose rows are there: another projector has restored archived operations."""
    found = cast("list[int]", await driver.fetchval(_EVENTS_THERE, cursor, changes.last_sequence))
    if not found:
        return frozenset()
    ids = sorted({row.operation_id for row in changes.metrics})
    metrics = cast("list[int]", await driver.fetchval(_METRICS_THERE, cursor, changes.last_sequence, ids))
    return frozenset(found).union(metrics)


async def _write_rows(
    driver: asyncpg.Connection,
    changes: Changes,
    *,
    after_sequence: int,
    there: frozenset[int] = frozenset(),
) -> None:
    def is_new(row: MetricRow | EventRow) -> bool:
        return row.sequence > after_sequence and row.sequence not in there

    states: tuple[tuple[ProjectedTable, Sequence[tuple[object, ...]]], ...] = (
        (OPERATIONS, changes.operations),
        (ATTEMPTS, changes.attempts),
        (CHECKPOINTS, changes.checkpoints),
        (ARTIFACTS, changes.artifacts),
    )
    # A cursor within the batch: states are those at its end in any case, but these rows are there already.
    facts: tuple[tuple[ProjectedTable, Sequence[tuple[object, ...]]], ...] = (
        (METRICS, [row for row in changes.metrics if is_new(row)]),
        (EVENTS, [row for row in changes.events if is_new(row)]),
        (QUARANTINE, [row for row in changes.quarantine if row.sequence > after_sequence]),
    )
    with _refusals():
        for table, rows in states:
            if rows:
                await driver.execute(_UPSERTS[table.name], *zip(*rows, strict=True))
        if changes.deleted_checkpoints:
            ids = tuple(zip(*changes.deleted_checkpoints, strict=True))
            for statement in _DELETE_CHECKPOINTS:
                await driver.execute(statement, *ids)
        for table, rows in facts:
            if rows:
                await driver.copy_records_to_table(table.name, records=rows, columns=table.columns)
        await write_waymarks(driver, await _whole(driver, changes.waymarks))


@contextmanager
def _refusals() -> Generator[None]:
    """Raise in our words what the values of the rows have done wrong."""
    try:
        yield
    except _REFUSED as error:
        raise UnwritableError(f"{type(error).__name__}: {error}") from error
