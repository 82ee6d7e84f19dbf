"""Waymarks in Postgres, beside the read models and no part of them; see ``application.waymarks``."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.database import database_errors, driver_of
from milepost_orchestrator.adapters.models import WaymarkModel
from milepost_orchestrator.adapters.projection_store import write_waymarks
from milepost_orchestrator.adapters.waymark_rows import WaymarkRow, folded_by, waymark_of
from milepost_orchestrator.application.waymarks import Position, Waymark

PUT_MAX = 20
"""In one statement: states may be large."""
_COLUMNS = [WaymarkModel.__table__.columns[name] for name in WaymarkRow._fields]


class PostgresWaymarks:
    """Implements ``WaymarkStore``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def positions(self, operation_id: str) -> Sequence[Position]:
        """Return where an operation's waymarks stand; see the port."""
        query = (
            select(WaymarkModel.number, WaymarkModel.sequence, WaymarkModel.latest_time)
            .where(WaymarkModel.operation_id == operation_id, WaymarkModel.folded_by == folded_by())
            .order_by(WaymarkModel.number)
        )
        with database_errors("read waymarks"):
            async with self._engine.connect() as connection:
                return [Position(*row) for row in await connection.execute(query)]

    async def get(self, operation_id: str, number: int) -> Waymark | None:
        """Return one; see the port."""
        query = select(*_COLUMNS).where(
            WaymarkModel.operation_id == operation_id, WaymarkModel.number == number
        )
        with database_errors("read a waymark"):
            async with self._engine.connect() as connection:
                row = (await connection.execute(query)).one_or_none()
        return waymark_of(WaymarkRow(*row)) if row is not None else None

    async def put(self, waymarks: Sequence[Waymark]) -> None:
        """Keep some; see the port."""
        with database_errors("keep waymarks"):
            async with self._engine.connect() as pooled:
                driver = await driver_of(pooled)
                for first in range(0, len(waymarks), PUT_MAX):
                    await write_waymarks(driver, waymarks[first : first + PUT_MAX])
