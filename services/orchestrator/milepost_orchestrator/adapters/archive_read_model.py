"""What archiving asks of the read models."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.database import database_errors
from milepost_orchestrator.adapters.models import QuarantineModel
from milepost_orchestrator.adapters.projection_store import PostgresProjectionStore
from milepost_orchestrator.application.archiving import EndedOperation
from milepost_orchestrator.domain.operation import TERMINAL_STATUSES

_ENDED = """
SELECT operation_id, ended_at FROM operations AS o
WHERE status = ANY(:statuses) AND ended_at < :before
AND (CAST(:after_time AS timestamptz) IS NULL
    OR (ended_at, operation_id) > (CAST(:after_time AS timestamptz), CAST(:after_id AS text)))
AND (SELECT name FROM operation_events AS e WHERE e.operation_id = o.operation_id ORDER BY sequence DESC LIMIT 1)
    IS DISTINCT FROM 'archived'
ORDER BY ended_at, operation_id LIMIT :limit
"""


class PostgresArchiveReadModel:
    """Implements ``ArchiveReadModel``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._store = PostgresProjectionStore(engine)

    async def ended(
        self, before: datetime, after: EndedOperation | None, limit: int
    ) -> Sequence[EndedOperation]:
        """Return operations that ended before a time and are not archived; see the port."""
        given = {
            "statuses": sorted(TERMINAL_STATUSES),
            "before": before,
            "after_time": after.ended_at if after is not None else None,
            "after_id": after.operation_id if after is not None else None,
            "limit": limit,
        }
        with database_errors("read ended operations"):
            async with self._engine.connect() as connection:
                found = await connection.execute(text(_ENDED), given)
                return [EndedOperation(operation_id, ended_at) for operation_id, ended_at in found]

    async def cursor(self) -> int:
        """Return the last sequence that they hold; see the port."""
        return await self._store.cursor()

    async def quarantined(self, operation_ids: Sequence[str]) -> frozenset[str]:
        """Return those of which events are in quarantine; see the port."""
        operation_id = QuarantineModel.operation_id
        with database_errors("read the quarantine"):
            async with self._engine.connect() as connection:
                query = select(operation_id).distinct().where(operation_id.in_(operation_ids))
                return frozenset(await connection.scalars(query))
