"""Digests of the projected tables: equal for two projections of the same log, however they came about.

The digest of a table is the sum of its rows' hashes and their number: it needs no order and no memory, however
many rows there are. Columns are taken by name, so the order in which migrations added them does not matter.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from milepost_orchestrator.adapters.database import database_errors
from milepost_orchestrator.adapters.projection_store import TABLES, ProjectedTable
from milepost_orchestrator.application.rebuilding import TableComparison

EXAMPLES_MAX = 5
FETCH_ROWS = 2000


@dataclass(frozen=True, slots=True)
class TableDigest:
    """What a table holds."""

    digest: str
    rows: int


async def table_digests(engine: AsyncEngine) -> dict[str, str]:
    """Return a digest of every table's rows, by table name; the order of rows does not matter.

    Raises:
        DatabaseUnavailableError: Postgres is away.
    """
    with database_errors("digest of the tables"):
        async with engine.connect() as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            return {table.name: (await _digest(connection, table)).digest for table in TABLES}


async def compare_tables(live: AsyncConnection, rebuilt: AsyncConnection) -> Sequence[TableComparison]:
    """Compare every table as each connection's transaction sees it, with some rows that differ."""
    return [await _compare(live, rebuilt, table) for table in TABLES]


async def _compare(live: AsyncConnection, rebuilt: AsyncConnection, table: ProjectedTable) -> TableComparison:
    one, other = await _digest(live, table), await _digest(rebuilt, table)
    examples = () if one.digest == other.digest else await _examples(live, rebuilt, table)
    return TableComparison(table.name, one.digest, other.digest, one.rows, other.rows, examples)


async def _digest(connection: AsyncConnection, table: ProjectedTable) -> TableDigest:
    halves = ", ".join(
        f"coalesce(sum(('x' || substr(h, {first}, 15))::bit(60)::bigint::numeric), 0)" for first in (1, 17)
    )
    query = (
        f"SELECT count(*), {halves} FROM (SELECT md5({_row(table)}) AS h FROM {table.name} AS t) AS hashes"  # noqa: S608 - our own names
    )
    rows, first, second = (await connection.execute(text(query))).one()
    return TableDigest(f"{rows}-{int(first):x}-{int(second):x}", rows)


async def _examples(
    live: AsyncConnection, rebuilt: AsyncConnection, table: ProjectedTable
) -> tuple[str, ...]:
    """Walk both tables in the order of their keys."""
    found: list[str] = []
    left, right = _hashes(live, table), _hashes(rebuilt, table)
    one, other = await anext(left, None), await anext(right, None)
    while (one is not None or other is not None) and len(found) < EXAMPLES_MAX:
        if other is None or (one is not None and one[0] < other[0]):
            found.append(f"{_key(one)} only live")
            one = await anext(left, None)
        elif one is None or other[0] < one[0]:
            found.append(f"{_key(other)} only rebuilt")
            other = await anext(right, None)
        else:
            if one[1] != other[1]:
                found.append(f"{_key(one)} differs")
            one, other = await anext(left, None), await anext(right, None)
    return tuple(found)


async def _hashes(
    connection: AsyncConnection, table: ProjectedTable
) -> AsyncIterator[tuple[tuple[Any, ...], str]]:
    keys = ", ".join(_collated(table, name) for name in table.key)
    query = f"SELECT md5({_row(table)}), {', '.join(table.key)} FROM {table.name} AS t ORDER BY {keys}"  # noqa: S608 - our own names
    rows = await connection.stream(text(query), execution_options={"yield_per": FETCH_ROWS})
    async for digest, *key in rows:
        yield tuple(key), digest


def _collated(table: ProjectedTable, name: str) -> str:
    """Text is put into the order in which Python compares it."""
    is_text = table.model.__table__.columns[name].type.python_type is str
    return f'{name} COLLATE "C"' if is_text else name


def _row(table: ProjectedTable) -> str:
    return f"ROW({', '.join(f't.{name}' for name in sorted(table.columns))})::text"


def _key(row: tuple[tuple[Any, ...], str] | None) -> str:
    return " ".join(str(part) for part in row[0]) if row is not None else ""
