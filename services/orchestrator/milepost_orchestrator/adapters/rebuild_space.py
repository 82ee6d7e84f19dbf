"""A schema of its own for a rebuild, and the swap with the live one.

States: locked -> leftovers of an earlier rebuild removed, schema made and migrated, readers' indexes dropped ->
filled by others -> indexes made -> swapped and gone, or removed. The swap moves tables between schemas, in one
transaction: catalogue entries only, whatever the size. Locks: first the cursor's table against projectors (readers
of it pass), at last every table, in the order in which readers take them, for the moment of the move. Each wait
for a lock is bounded below Postgres's deadlock timeout, so a reader is never the one that is broken off; the swap
lets go and tries again. Sessions that hold prepared statements go on: Postgres looks their names up again.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from milepost_orchestrator.adapters.database import (
    MIGRATION_LOCK,
    create_engine,
    database_errors,
    driver_of,
    migrate,
)
from milepost_orchestrator.adapters.digests import compare_tables
from milepost_orchestrator.adapters.projection_store import CURSOR, PostgresProjectionStore, locked_cursor
from milepost_orchestrator.adapters.settings import DatabaseSettings
from milepost_orchestrator.application.errors import RebuildInProgressError, SwapDelayedError
from milepost_orchestrator.application.rebuilding import TableComparison

log = structlog.get_logger()
REBUILD_LOCK = 0x72656275
"""Key of the advisory lock: "rebu"."""
LOCK_MILLISECONDS = 400
COMPARE_SECONDS = 3600.0
COMMAND_SECONDS = 600.0
READ_ORDER = ("operations", "attempts", "checkpoints", "checkpoint_artifacts", "metrics", "operation_events")
"""What readers take in one transaction, in their order; all other tables are taken after these."""

_INDEXES = """
SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = :schema AND indexname NOT IN (
    SELECT conname FROM pg_constraint WHERE connamespace = CAST(:schema AS regnamespace)
)
"""


@dataclass(frozen=True, slots=True)
class PostgresSnapshot:
    """Implements ``LiveSnapshot``."""

    cursor: int
    live: AsyncConnection
    rebuilt: AsyncEngine

    async def compare(self) -> Sequence[TableComparison]:
        """Compare every table; see the port."""
        with database_errors("compare the read models"):
            async with self.rebuilt.connect() as rebuilt:
                await rebuilt.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
                return await compare_tables(self.live, rebuilt)


@dataclass(frozen=True, slots=True)
class PostgresSwap:
    """Implements ``Swap``; inside the transaction that holds projectors back."""

    cursor: int
    generation: int
    driver: asyncpg.Connection
    live: str
    rebuilt: str

    async def commit(self) -> None:
        """Move the tables; the transaction's end makes it so."""
        replaced = f"{self.live}_replaced"
        tables = await _tables(self.driver, self.rebuilt)
        await self.driver.execute(
            f'UPDATE "{self.rebuilt}".projection_cursor SET generation = $1',  # noqa: S608 - a checked name
            self.generation + 1,
        )
        there = set(await _tables(self.driver, self.live))
        for table in tables:
            if table in there:
                await self.driver.execute(f'LOCK TABLE "{self.live}"."{table}" IN ACCESS EXCLUSIVE MODE')
        await self.driver.execute(f'DROP SCHEMA IF EXISTS "{replaced}" CASCADE')
        await self.driver.execute(f'CREATE SCHEMA "{replaced}"')
        for table in tables:
            if table in there:
                await self.driver.execute(f'ALTER TABLE "{self.live}"."{table}" SET SCHEMA "{replaced}"')
            await self.driver.execute(f'ALTER TABLE "{self.rebuilt}"."{table}" SET SCHEMA "{self.live}"')
        await self.driver.execute(f'DROP SCHEMA "{replaced}" CASCADE')
        await self.driver.execute(f'DROP SCHEMA "{self.rebuilt}" CASCADE')


class PostgresRebuildSpace:
    """Implements ``RebuildSpace``; made by ``open_rebuild_space``."""

    def __init__(
        self, settings: DatabaseSettings, live: AsyncEngine, rebuilt: AsyncEngine, schema: str
    ) -> None:
        self.store = PostgresProjectionStore(rebuilt)
        self._settings = settings
        self._live = live
        self._rebuilt = rebuilt
        self._schema = schema
        self._indexes: list[str] = []
        """What makes the indexes that were dropped."""

    async def live_cursor(self) -> int:
        """Return the last sequence that the live read models hold; see the port."""
        return await PostgresProjectionStore(self._live).cursor()

    async def drop_indexes(self) -> None:
        """Drop every index that is no constraint: filling tables costs half without them."""
        with database_errors("drop indexes"):
            async with self._rebuilt.begin() as connection:
                found = (await connection.execute(text(_INDEXES), {"schema": self._schema})).all()
                for name, _ in found:
                    await connection.execute(text(f'DROP INDEX "{self._schema}"."{name}"'))
        self._indexes = [definition for _, definition in found]

    async def make_indexes(self) -> None:
        """Make them again; see the port."""
        with database_errors("make indexes"):
            async with self._rebuilt.begin() as connection:
                for definition in self._indexes:
                    await connection.exec_driver_sql(definition)
                await connection.exec_driver_sql(f"ANALYZE {', '.join(READ_ORDER)}")
        self._indexes = []

    @asynccontextmanager
    async def snapshot(self) -> AsyncGenerator[PostgresSnapshot]:
        """Look at the live read models as they are now; see the port."""
        with database_errors("look at the live read models"):
            async with self._live.connect() as connection:
                await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
                cursor = await connection.scalar(
                    text("SELECT sequence FROM projection_cursor WHERE name = :name"), {"name": CURSOR}
                )
                yield PostgresSnapshot(cursor or 0, connection, self._rebuilt)

    @asynccontextmanager
    async def swap(self) -> AsyncGenerator[PostgresSwap]:
        """Hold projectors back; see the port."""
        with database_errors("swap the read models"):
            async with self._live.connect() as pooled:
                driver = await driver_of(pooled)
                try:
                    async with driver.transaction():
                        yield await self._hold(driver)
                except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
                    raise SwapDelayedError(str(error)) from error

    async def _hold(self, driver: asyncpg.Connection) -> PostgresSwap:
        live = self._settings.schema
        await driver.execute(f"SET LOCAL lock_timeout = '{LOCK_MILLISECONDS}ms'")
        await driver.execute("SET LOCAL synchronous_commit = on")
        await driver.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", MIGRATION_LOCK, live)
        await driver.execute(f'LOCK TABLE "{live}".projection_cursor IN EXCLUSIVE MODE')
        sequence, generation = await locked_cursor(driver)
        return PostgresSwap(sequence, generation, driver, live, self._schema)


@asynccontextmanager
async def rebuilds_held(engine: AsyncEngine, settings: DatabaseSettings) -> AsyncGenerator[None]:
    """Let no rebuild run, and nobody else who holds them, for as long as the block lasts.

    Raises:
        RebuildInProgressError: one runs.
        DatabaseUnavailableError, DatabaseRefusedError: Postgres is away, or refuses.
    """
    async with AsyncExitStack() as resources:
        with database_errors("hold rebuilds"):
            guard = await resources.enter_async_context(engine.connect())
            await _lock(guard, settings.schema)
        try:
            yield
        finally:
            await (
                guard.invalidate()
            )  # the lock is the connection's, which must not go back to the pool with it


@asynccontextmanager
async def open_rebuild_space(settings: DatabaseSettings) -> AsyncGenerator[PostgresRebuildSpace]:
    """Yield an empty, migrated schema beside the live one; it is gone at the end, whatever happened.

    Raises:
        RebuildInProgressError: another rebuild of these read models runs.
        DatabaseUnavailableError, DatabaseRefusedError: Postgres is away, or refuses.
    """
    schema = f"{settings.schema}_rebuild"
    patient = replace(settings, command_timeout_seconds=COMPARE_SECONDS)
    async with AsyncExitStack() as resources:
        live = create_engine(patient)
        resources.push_async_callback(live.dispose)
        with database_errors("begin a rebuild"):
            guard = await resources.enter_async_context(live.connect())
            await _lock(guard, settings.schema)
        await migrate(live, patient)
        await _remove(guard, schema)
        resources.push_async_callback(_remove, guard, schema)
        # What a crash of the server takes from the new tables is made again by the next rebuild.
        rebuilt = create_engine(replace(patient, schema=schema), synchronous_commit="off")
        resources.push_async_callback(rebuilt.dispose)
        await migrate(rebuilt, replace(patient, schema=schema))
        space = PostgresRebuildSpace(patient, live, rebuilt, schema)
        await space.drop_indexes()
        yield space


async def _lock(guard: AsyncConnection, schema: str) -> None:
    """Held by the connection: gone with it, also when this process is killed."""
    locked = await guard.scalar(
        text("SELECT pg_try_advisory_lock(:key, hashtext(:schema))"), {"key": REBUILD_LOCK, "schema": schema}
    )
    await guard.commit()
    if not locked:
        raise RebuildInProgressError(schema)


async def _remove(guard: AsyncConnection, schema: str) -> None:
    with database_errors("remove a rebuild"):
        await guard.execute(text(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'))
        await guard.commit()


async def _tables(driver: asyncpg.Connection, schema: str) -> list[str]:
    """Return the tables of a schema in the order in which they are locked."""
    query = "SELECT coalesce(array_agg(tablename::text), '{}') FROM pg_tables WHERE schemaname = $1"
    found = set(cast("list[str]", await driver.fetchval(query, schema)))
    first = [name for name in READ_ORDER if name in found]
    return [*first, *sorted(found - set(READ_ORDER))]
