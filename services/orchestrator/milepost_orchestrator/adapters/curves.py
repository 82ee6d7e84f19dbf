"""Curves from Postgres, thinned out where they are read: a million points never leave the database.

The units are cut into buckets, and of each bucket the first, the last, the lowest and the highest point are kept,
found in one pass: an array compares by its first element, so the smallest array carries the whole point of it.
"""

from collections.abc import Sequence

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from milepost_orchestrator.adapters.database import database_errors
from milepost_orchestrator.application.curves import KEPT_OF_BUCKET, Curve, CurvePoint, CurvesWanted

NAMES_MAX = 200
_OWN = "operation_id = :operation_id"
_NAMED = f"{_OWN} AND name = ANY(:names)"
_TOTALS = """
SELECT name, count(*) AS total, min(unit) AS low, max(unit) AS high FROM metrics
WHERE {wanted} GROUP BY name ORDER BY name LIMIT {names_max}
"""
_ALL = """
SELECT sequence, attempt, unit, value FROM metrics
WHERE operation_id = :operation_id AND name = :name ORDER BY sequence
"""
_FINITE = "FILTER (WHERE value > '-Infinity' AND value < 'Infinity')"
_THINNED = f"""
SELECT min(ARRAY[sequence, attempt, unit, value]) AS first, max(ARRAY[sequence, attempt, unit, value]) AS last,
    min(ARRAY[value, sequence, attempt, unit]) {_FINITE} AS lowest,
    max(ARRAY[value, sequence, attempt, unit]) {_FINITE} AS highest
FROM metrics WHERE operation_id = :operation_id AND name = :name
GROUP BY width_bucket(unit::float8, :low, :high, :buckets)
"""  # noqa: S608 - our own words
_NEWER = """
SELECT name, sequence, attempt, unit, value FROM metrics WHERE {wanted} AND sequence > :after
ORDER BY sequence FETCH FIRST :limit ROWS WITH TIES
"""
"""With ties: an event's metrics are read together, for the next answer begins after its sequence."""


class PostgresCurves:
    """Implements ``CurveReader``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def whole_curves(self, wanted: CurvesWanted) -> Sequence[Curve]:
        """Return whole curves of one moment; see the port."""
        with database_errors("read metrics"):
            async with self._engine.connect() as connection:
                # One snapshot: what comes meanwhile is after the sequence of every curve.
                await connection.execution_options(isolation_level="REPEATABLE READ")
                totals = (await connection.execute(_statement(_TOTALS, wanted), _names(wanted))).all()
                return [
                    Curve(name, await _points(connection, wanted, name, total, (low, high)), total)
                    for name, total, low, high in totals
                ]

    async def newer_points(self, wanted: CurvesWanted) -> tuple[Sequence[Curve], bool]:
        """Return what came after; see the port."""
        given = {**_names(wanted), "after": wanted.after_sequence, "limit": wanted.points_max}
        with database_errors("read metrics"):
            async with self._engine.connect() as connection:
                rows = (await connection.execute(_statement(_NEWER, wanted), given)).all()
        curves: dict[str, list[CurvePoint]] = {}
        for name, sequence, attempt, unit, value in rows:
            curves.setdefault(name, []).append(CurvePoint(sequence, attempt, unit, value))
        newer = [Curve(name, points, len(points)) for name, points in sorted(curves.items())]
        return newer, len(rows) >= wanted.points_max


def _statement(template: str, wanted: CurvesWanted) -> TextClause:
    return text(template.format(wanted=_NAMED if wanted.names else _OWN, names_max=NAMES_MAX))


def _names(wanted: CurvesWanted) -> dict[str, object]:
    names: dict[str, object] = {"names": list(wanted.names)} if wanted.names else {}
    return {"operation_id": wanted.operation_id, **names}


async def _points(
    connection: AsyncConnection, wanted: CurvesWanted, name: str, total: int, units: tuple[int, int]
) -> list[CurvePoint]:
    given: dict[str, object] = {"operation_id": wanted.operation_id, "name": name}
    if total <= wanted.points_max:
        return [CurvePoint(*row) for row in await connection.execute(text(_ALL), given)]
    # The highest unit falls into a bucket of its own, beyond the last.
    buckets = max(wanted.points_max // KEPT_OF_BUCKET - 1, 1)
    given |= {"low": float(units[0]), "high": float(max(units[1], units[0] + 1)), "buckets": buckets}
    found: dict[int, CurvePoint] = {}
    for first, last, lowest, highest in await connection.execute(text(_THINNED), given):
        for sequence, attempt, unit, value in (first, last):
            found[int(sequence)] = CurvePoint(int(sequence), int(attempt), int(unit), value)
        for value, sequence, attempt, unit in (each for each in (lowest, highest) if each is not None):
            found[int(sequence)] = CurvePoint(int(sequence), int(attempt), int(unit), value)
    return [found[sequence] for sequence in sorted(found)]
