"""Digest of the projected tables: equal for two projections of the same log, however they came about."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.database import database_errors
from milepost_orchestrator.adapters.projection_store import TABLES


async def table_digests(engine: AsyncEngine) -> dict[str, str]:
    """Return a digest of every table's rows, by table name; the order of rows does not matter.

    Raises:
        DatabaseUnavailableError: Postgres is away.
    """
    digests: dict[str, str] = {}
    with database_errors("digest of the tables"):
        async with engine.connect() as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            for table in TABLES:
                key = ", ".join(table.key)
                rows = await connection.execute(
                    text(
                        f"SELECT md5(coalesce(string_agg(md5(t::text), '' ORDER BY {key}), '')) "  # noqa: S608 - our own names
                        f"FROM {table.name} AS t"
                    )
                )
                digests[table.name] = rows.scalar_one()
    return digests
