"""What the read models know of the stack as a whole: the quarantine, and who asked for what."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.database import database_errors
from milepost_orchestrator.adapters.models import EventModel
from milepost_orchestrator.adapters.quarantine_reading import quarantined_events
from milepost_orchestrator.application.quarantine import Quarantined
from milepost_orchestrator.application.system_view import Deed

_REQUESTED_BY = EventModel.data["requested_by"].astext


class PostgresSystemRows:
    """Implements ``SystemRows``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def quarantined(self, limit: int) -> list[Quarantined]:
        """Return what was set aside; see the port."""
        return await quarantined_events(self._engine, limit=limit)

    async def deeds(self, limit: int) -> list[Deed]:
        """Return who did what; see the port. Read backwards along the key, so it costs what it returns."""
        query = (
            select(
                EventModel.time.label("at"),
                EventModel.name.label("what"),
                _REQUESTED_BY.label("requested_by"),
                EventModel.data["reason"].astext.label("reason"),
                EventModel.operation_id,
                EventModel.data["checkpoint_id"].astext.label("about"),
            )
            .where(_REQUESTED_BY.is_not(None))
            .order_by(EventModel.sequence.desc())
            .limit(limit)
        )
        with database_errors("read who did what"):
            async with self._engine.connect() as connection:
                return [Deed(**row) for row in (await connection.execute(query)).mappings()]
