"""The read models in Postgres, for reading."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from milepost_contracts.capabilities import Needs
from milepost_contracts.cleanup import CleanUpCheckpoints
from milepost_runtime.work_queue import WorkKey
from sqlalchemy import Select, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from milepost_orchestrator.adapters.checkpoint_lists import checkpoints_query
from milepost_orchestrator.adapters.cleanup_lists import operations_to_clean_query
from milepost_orchestrator.adapters.database import database_errors
from milepost_orchestrator.adapters.models import (
    ArtifactModel,
    AttemptModel,
    CheckpointModel,
    Model,
    OperationModel,
)
from milepost_orchestrator.adapters.operation_lists import (
    lineage_query,
    operation_counts_query,
    operations_query,
)
from milepost_orchestrator.application.documents import OperationRows, Row
from milepost_orchestrator.application.filters import (
    CheckpointFilter,
    CheckpointSort,
    OperationFilter,
    OperationSort,
    Order,
)
from milepost_orchestrator.application.parking import NeedingWork, asks_for_something
from milepost_orchestrator.application.queries import LiveOperation
from milepost_orchestrator.domain.operation import TERMINAL_STATUSES, Status

CHECKPOINTS_SHOWN_MAX = 200
"""An operation is shown with its newest checkpoints; the others are listed page by page."""
ATTEMPTS_SHOWN_MAX = 200


class PostgresReadModel:
    """Implements ``ReadModel``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def operations(
        self, wanted: OperationFilter, order: Order[OperationSort], *, limit: int
    ) -> Sequence[Row]:
        """Return operations; see the port."""
        with database_errors("read operations"):
            async with self._engine.connect() as connection:
                return await _rows(connection, operations_query(wanted, order, limit=limit))

    async def operation_counts(self, wanted: OperationFilter) -> Mapping[str, int]:
        """Return how many operations there are of each status; see the port."""
        with database_errors("count operations"):
            async with self._engine.connect() as connection:
                found = await connection.execute(operation_counts_query(wanted))
                return {status: count for status, count in found}  # noqa: C416 - rows, not pairs

    async def operation(self, operation_id: str) -> OperationRows | None:
        """Return everything about one operation; see the port."""
        with database_errors("read an operation"):
            async with self._engine.connect() as connection:
                found = await _rows(
                    connection, _columns(OperationModel).where(OperationModel.operation_id == operation_id)
                )
                if not found:
                    return None
                attempts = await _rows(
                    connection,
                    _columns(AttemptModel)
                    .where(AttemptModel.operation_id == operation_id)
                    .order_by(AttemptModel.attempt.desc())
                    .limit(ATTEMPTS_SHOWN_MAX),
                )
                checkpoints = await _rows(
                    connection,
                    _columns(CheckpointModel)
                    .where(CheckpointModel.operation_id == operation_id)
                    .order_by(CheckpointModel.sequence.desc())
                    .limit(CHECKPOINTS_SHOWN_MAX),
                )
                children = await connection.scalars(
                    select(OperationModel.operation_id)
                    .where(OperationModel.parent_id == operation_id)
                    .order_by(OperationModel.requested_sequence)
                )
                return OperationRows(
                    operation=found[0],
                    attempts=attempts[::-1],
                    checkpoints=checkpoints,
                    artifacts=await _artifacts(connection, checkpoints),
                    children=list(children),
                )

    async def lineage(self, operation_id: str, *, limit: int) -> Sequence[Row]:
        """Return the operation's whole tree; see the port."""
        with database_errors("read a lineage"):
            async with self._engine.connect() as connection:
                return await _rows(connection, lineage_query(operation_id, limit=limit))

    async def checkpoints(
        self, wanted: CheckpointFilter, order: Order[CheckpointSort], *, limit: int
    ) -> tuple[Sequence[Row], Sequence[Row]]:
        """Return checkpoints and their artifacts; see the port."""
        query = checkpoints_query(wanted, order, limit=limit)
        with database_errors("read checkpoints"):
            async with self._engine.connect() as connection:
                found = await _rows(connection, query)
                return found, await _artifacts(connection, found)

    async def checkpoint(self, checkpoint_id: str) -> tuple[Row, Sequence[Row]] | None:
        """Return one checkpoint and its artifacts; see the port."""
        with database_errors("read a checkpoint"):
            async with self._engine.connect() as connection:
                found = await _rows(
                    connection,
                    _columns(CheckpointModel)
                    .where(CheckpointModel.checkpoint_id == checkpoint_id)
                    .order_by(CheckpointModel.sequence.desc())
                    .limit(1),
                )
                return (found[0], await _artifacts(connection, found)) if found else None

    async def ids_beginning(self, beginning: str, *, limit: int) -> Sequence[str]:
        """Return ids of operations that begin so, sorted."""
        query = (
            select(OperationModel.operation_id)
            .where(OperationModel.operation_id.startswith(beginning, autoescape=True))
            .order_by(OperationModel.operation_id)
            .limit(limit)
        )
        with database_errors("read operations"):
            async with self._engine.connect() as connection:
                return list(await connection.scalars(query))

    async def operations_to_clean(
        self, rules: CleanUpCheckpoints, *, saved_before: datetime | None, after_id: str, limit: int
    ) -> Sequence[str]:
        """Return operations that a cleanup has to look at; see the port."""
        query = operations_to_clean_query(rules, saved_before=saved_before, after_id=after_id, limit=limit)
        with database_errors("read checkpoints"):
            async with self._engine.connect() as connection:
                return list(await connection.scalars(query))

    async def live_operations(self, *, after_id: str, limit: int) -> Sequence[LiveOperation]:
        """Return operations that had not ended; see the port."""
        columns = (
            OperationModel.kind,
            OperationModel.queue,
            OperationModel.operation_id,
            OperationModel.status,
            OperationModel.options["needs"],
        )
        query = (
            select(*columns)
            .where(OperationModel.status.not_in(sorted(TERMINAL_STATUSES)))
            .where(OperationModel.imported_from.is_(None))
            .where(OperationModel.operation_id > after_id)
            .order_by(OperationModel.operation_id)
            .limit(limit)
        )
        with database_errors("read live operations"):
            async with self._engine.connect() as connection:
                found = await connection.execute(query)
                return [
                    LiveOperation(
                        WorkKey(kind, queue, operation_id),
                        cancelling=status == Status.CANCELLING,
                        may_be_parked=status == Status.QUEUED and _asks(needs),
                    )
                    for kind, queue, operation_id, status, needs in found
                ]

    async def needing_work(self, limit: int) -> list[NeedingWork]:
        """Return queued work that has needs; see ``NeedingOperations``."""
        query = (
            select(
                OperationModel.kind,
                OperationModel.queue,
                OperationModel.operation_id,
                OperationModel.options["needs"],
                OperationModel.priority,
            )
            .where(OperationModel.status == Status.QUEUED)
            .where(OperationModel.options["needs"].is_not(None))
            .where(OperationModel.imported_from.is_(None))
            .order_by(OperationModel.priority.desc(), OperationModel.requested_sequence)
            .limit(limit)
        )
        with database_errors("read what has needs"):
            async with self._engine.connect() as connection:
                found = [
                    NeedingWork(WorkKey(kind, queue, operation_id), Needs.model_validate(needs), priority)
                    for kind, queue, operation_id, needs, priority in await connection.execute(query)
                ]
        return [each for each in found if asks_for_something(each.needs)]


def _asks(needs: dict[str, Any] | None) -> bool:
    return needs is not None and asks_for_something(Needs.model_validate(needs))


def _columns(model: type[Model]) -> Select[Any]:
    """Select the columns and not objects: rows are read as they are."""
    return select(*model.__table__.columns)


async def _rows(connection: AsyncConnection, query: Select[Any]) -> list[Row]:
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def _artifacts(connection: AsyncConnection, checkpoints: Sequence[Row]) -> list[Row]:
    if not checkpoints:
        return []
    ids = [(row["operation_id"], row["checkpoint_id"]) for row in checkpoints]
    return await _rows(
        connection,
        _columns(ArtifactModel)
        .where(tuple_(ArtifactModel.operation_id, ArtifactModel.checkpoint_id).in_(ids))
        .order_by(ArtifactModel.operation_id, ArtifactModel.checkpoint_id, ArtifactModel.position),
    )
