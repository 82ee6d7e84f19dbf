"""What the read models know of the stack as a whole: the quarantine, and who asked for what."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.database import database_errors
from milepost_orchestrator.adapters.models import EventModel
from milepost_orchestrator.adapters.quarantine_reading import quarantined_events
from milepost_orchestrator.application.deeds import Deed, before_and_after
from milepost_orchestrator.application.quarantine import Quarantined

_LARGE = cast(["spec", "inputs"], ARRAY(Text))
"""What of an event's data nobody needs here."""
_REQUESTED_BY = EventModel.data["requested_by"].astext


class PostgresSystemRows:
    """Implements ``SystemRows``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def quarantined(self, limit: int) -> list[Quarantined]:
        """Return what was set aside; see the port."""
        return await quarantined_events(self._engine, limit=limit)

    async def deeds(self, limit: int, until: datetime | None) -> list[Deed]:
        """Return who did what; see the port. Read backwards along the key, so it costs what it returns."""
        query = (
            select(
                EventModel.time,
                EventModel.name,
                EventModel.operation_id,
                EventModel.data.op("-", return_type=JSONB())(_LARGE).label("data"),
            )
            .where(_REQUESTED_BY.is_not(None))
            .order_by(EventModel.sequence.desc())
            .limit(limit)
        )
        if until is not None:
            query = query.where(EventModel.time < until)
        with database_errors("read who did what"):
            async with self._engine.connect() as connection:
                return [_deed(*row) for row in await connection.execute(query)]


def _deed(at: datetime, name: str, operation_id: str, data: Mapping[str, Any]) -> Deed:
    before, after = before_and_after(name, data)
    return Deed(
        at=at,
        what=name,
        requested_by=data["requested_by"],
        reason=data.get("reason"),
        operation_id=operation_id,
        about=data.get("checkpoint_id"),
        before=before,
        after=after,
    )
