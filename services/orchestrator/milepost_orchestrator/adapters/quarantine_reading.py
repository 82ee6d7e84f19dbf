"""The quarantine, for reading."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.database import database_errors
from milepost_orchestrator.adapters.models import QuarantineModel
from milepost_orchestrator.application.quarantine import Quarantined


async def quarantined_events(engine: AsyncEngine, *, limit: int) -> list[Quarantined]:
    """Return the first events in quarantine, in the order of the log.

    Raises:
        DatabaseUnavailableError: Postgres is away.
    """
    query = select(*QuarantineModel.__table__.columns).order_by(QuarantineModel.sequence).limit(limit)
    with database_errors("read the quarantine"):
        async with engine.connect() as connection:
            return [Quarantined(**row) for row in (await connection.execute(query)).mappings()]
