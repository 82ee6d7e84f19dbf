"""Sums over the read models: what is kept and what was deleted."""

from datetime import datetime, timedelta
from typing import Any

from milepost_contracts.events import CheckpointDeleted
from sqlalchemy import BigInteger, Select, case, cast, func, literal, select
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.database import database_errors
from milepost_orchestrator.adapters.models import ArtifactModel, CheckpointModel, EventModel, OperationModel
from milepost_orchestrator.application.storage import AGES, OLDER, StorageRows


class PostgresStorageStatistics:
    """Implements ``StorageStatistics``; each question is one query over all rows."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def storage(self, now: datetime) -> StorageRows:
        """Return the sums; see the port."""
        unique = select(ArtifactModel.digest, ArtifactModel.size_bytes).distinct().subquery()
        with database_errors("count what is kept"):
            async with self._engine.connect() as connection:
                kept = (await connection.execute(_kept(now))).mappings().all()
                deleted = (await connection.execute(_deleted())).mappings().all()
                size_bytes = await connection.scalar(
                    select(func.coalesce(cast(func.sum(unique.c.size_bytes), BigInteger), 0))
                )
        return StorageRows([dict(row) for row in kept], [dict(row) for row in deleted], size_bytes or 0)


def _kept(now: datetime) -> Select[*tuple[Any, ...]]:
    ages = [(CheckpointModel.saved_at > now - timedelta(seconds=most), literal(name)) for name, most in AGES]
    age = case(*ages, else_=literal(OLDER)).label("age")
    return (
        select(
            CheckpointModel.kind,
            OperationModel.status,
            age,
            func.count().label("count"),
            cast(func.sum(CheckpointModel.size_bytes), BigInteger).label("size_bytes"),
            func.count().filter(CheckpointModel.pinned).label("pinned"),
        )
        .join(OperationModel, OperationModel.operation_id == CheckpointModel.operation_id)
        .group_by(CheckpointModel.kind, OperationModel.status, age)
        .order_by(CheckpointModel.kind, OperationModel.status, age)
    )


def _deleted() -> Select[*tuple[Any, ...]]:
    requested_by = EventModel.data["requested_by"].astext.label("requested_by")
    size_bytes = cast(EventModel.data["size_bytes"].astext, BigInteger)
    return (
        select(
            OperationModel.kind,
            requested_by,
            func.count().label("count"),
            cast(func.sum(size_bytes), BigInteger).label("size_bytes"),
            func.max(EventModel.time).label("last_at"),
        )
        .join(OperationModel, OperationModel.operation_id == EventModel.operation_id)
        .where(EventModel.name == CheckpointDeleted.NAME)
        .group_by(OperationModel.kind, requested_by)
        .order_by(OperationModel.kind, requested_by)
    )
