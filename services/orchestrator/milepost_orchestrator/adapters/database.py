"""The connection pool to Postgres, its errors in our words, and the schema's migrations.

Authority: migrations run under an advisory lock, so of several orchestrators that start at once one migrates and
the others find nothing left to do. Failures: Postgres away is ``DatabaseUnavailableError`` and may be repeated;
a refusal (credentials, permissions, no such database) is ``DatabaseRefusedError`` and is for a person.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from milepost_orchestrator.adapters.settings import DatabaseSettings
from milepost_orchestrator.application.errors import DatabaseRefusedError, DatabaseUnavailableError

if TYPE_CHECKING:
    from alembic.config import Config

log = structlog.get_logger()
MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x6D696C65
"""Key of the advisory lock: "mile"."""
_REFUSALS = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
_AWAY = (
    OSError,
    TimeoutError,
    PoolTimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.QueryCanceledError,
    asyncpg.UndefinedTableError,  # not migrated yet
)


def create_engine(settings: DatabaseSettings, **server_settings: str) -> AsyncEngine:
    """Return a pool that connects when it is first used; dispose of it when done.

    ``server_settings`` are Postgres's own, for every connection.
    """
    return create_async_engine(
        settings.url,
        pool_size=settings.connections_max,
        max_overflow=0,
        pool_timeout=settings.connect_timeout_seconds,
        pool_pre_ping=True,
        connect_args={
            "timeout": settings.connect_timeout_seconds,
            "command_timeout": settings.command_timeout_seconds,
            "server_settings": {
                "application_name": "milepost-orchestrator",
                "search_path": settings.schema,
                "timezone": "UTC",
                **server_settings,
                "datestyle": "ISO",
            },
        },
    )


@contextmanager
def database_errors(what: str) -> Generator[None]:
    """Raise what Postgres or the way to it did wrong in our words; errors of our own SQL pass."""
    try:
        yield
    except _REFUSALS as error:
        raise DatabaseRefusedError(f"{what}: {error}") from error
    except _AWAY as error:
        raise DatabaseUnavailableError(f"{what}: {type(error).__name__}") from error
    except DBAPIError as error:
        # SQLAlchemy wraps twice: its own error, its adapter's error, asyncpg's.
        cause = getattr(error.orig, "__cause__", None) or error.orig
        if isinstance(cause, _REFUSALS):
            raise DatabaseRefusedError(f"{what}: {cause}") from error
        if isinstance(cause, _AWAY) or error.connection_invalidated:
            raise DatabaseUnavailableError(f"{what}: {type(cause).__name__}") from error
        raise


async def driver_of(connection: AsyncConnection) -> asyncpg.Connection:
    """Return asyncpg's own connection, for what SQLAlchemy has no word for; no transaction is open on it."""
    driver = (await connection.get_raw_connection()).driver_connection
    if not isinstance(driver, asyncpg.Connection):
        raise TypeError("the database URL must use asyncpg")
    return driver


async def migrate(engine: AsyncEngine, settings: DatabaseSettings) -> None:
    """Bring the schema to the newest version; harmless when it is there already.

    Raises:
        DatabaseUnavailableError, DatabaseRefusedError: Postgres is away, or refuses.
    """
    with database_errors("migrate"):
        async with engine.connect() as connection:
            if await _version(connection, settings.schema) == newest_version():
                return
        async with engine.begin() as connection:
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key, hashtext(:schema))"),
                {"key": MIGRATION_LOCK, "schema": settings.schema},
            )
            await connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{settings.schema}"'))
            await connection.run_sync(_upgrade, settings.schema)


def newest_version() -> str:
    """Return the revision of the newest migration, which its file is called by."""
    return max(path.name[1:5] for path in (MIGRATIONS / "versions").glob("v[0-9]*.py"))


async def _version(connection: AsyncConnection, schema: str) -> str | None:
    """Return the revision that the schema is at, None when it has none."""
    table = f'"{schema}".alembic_version'
    if (await connection.execute(text("SELECT to_regclass(:table)"), {"table": table})).scalar() is None:
        return None
    found = await connection.execute(text(f"SELECT version_num FROM {table}"))  # noqa: S608 - our own setting
    return found.scalar()


def _upgrade(connection: Connection, schema: str) -> None:
    from alembic import command  # noqa: PLC0415 - see `migrations`

    command.upgrade(migrations(connection, schema), "head")


def migrations(connection: Connection, schema: str) -> "Config":
    """Return what Alembic's commands work with, on a connection."""
    # A third of a second of every start, in which there is nothing to migrate.
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["schema"] = schema
    return config
