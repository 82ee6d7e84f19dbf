"""Some points of each operation's main metric, found by their place in the index and not by reading the curve."""

from collections.abc import Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.database import database_errors

_SAMPLES = text("""
WITH named AS (
    SELECT wanted.operation_id, coalesce(
        (SELECT main.name FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS main (name, place)
         WHERE EXISTS (SELECT FROM metrics AS m WHERE m.operation_id = wanted.operation_id AND m.name = main.name)
         ORDER BY main.place LIMIT 1),
        (SELECT m.name FROM metrics AS m WHERE m.operation_id = wanted.operation_id ORDER BY m.name LIMIT 1)
    ) AS name
    FROM unnest(CAST(:operation_ids AS text[])) AS wanted (operation_id)
), ends AS (
    SELECT operation_id, name,
        (SELECT min(sequence) FROM metrics AS m WHERE m.operation_id = n.operation_id AND m.name = n.name) AS low,
        (SELECT max(sequence) FROM metrics AS m WHERE m.operation_id = n.operation_id AND m.name = n.name) AS high
    FROM named AS n WHERE name IS NOT NULL
)
SELECT DISTINCT ends.operation_id, ends.name, point.sequence, point.unit, point.value
FROM ends
CROSS JOIN generate_series(0, CAST(:steps AS int)) AS step
CROSS JOIN LATERAL (
    SELECT sequence, unit, value FROM metrics AS m
    WHERE m.operation_id = ends.operation_id AND m.name = ends.name
        AND m.sequence >= ends.low + (ends.high - ends.low) * step / CAST(:steps AS int)
    ORDER BY m.sequence LIMIT 1
) AS point
ORDER BY ends.operation_id, point.sequence
""")


class PostgresSparklines:
    """Implements ``SparklineReader``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def samples(
        self, operation_ids: Sequence[str], names: Sequence[str], *, points_max: int
    ) -> Mapping[str, tuple[str, Sequence[tuple[int, float]]]]:
        """Return some points of each main metric; see the port."""
        given = {"operation_ids": list(operation_ids), "names": list(names), "steps": points_max - 1}
        with database_errors("read metrics"):
            async with self._engine.connect() as connection:
                rows = (await connection.execute(_SAMPLES, given)).all()
        found: dict[str, tuple[str, list[tuple[int, float]]]] = {}
        for operation_id, name, _, unit, value in rows:
            found.setdefault(operation_id, (name, []))[1].append((unit, value))
        return found
