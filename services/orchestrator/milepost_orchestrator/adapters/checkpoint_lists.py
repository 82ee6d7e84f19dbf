"""The queries behind lists of checkpoints."""

from typing import Any

from sqlalchemy import ColumnElement, Select, select, tuple_

from milepost_orchestrator.adapters.conditions import begins, equal, one_of, within
from milepost_orchestrator.adapters.keyset import SortKey, sorted_after
from milepost_orchestrator.adapters.models import AttemptModel, CheckpointModel, OperationModel
from milepost_orchestrator.adapters.operation_lists import ids_query, named
from milepost_orchestrator.application.filters import CheckpointFilter, CheckpointSort, Order

_SEQUENCE = CheckpointModel.sequence.expression
_SORTS = {
    CheckpointSort.SAVED: SortKey(None, _SEQUENCE),
    CheckpointSort.SIZE: SortKey(CheckpointModel.size_bytes.expression, _SEQUENCE),
    CheckpointSort.UNIT: SortKey(CheckpointModel.unit.expression, _SEQUENCE),
}


def checkpoints_query(wanted: CheckpointFilter, order: Order[CheckpointSort], *, limit: int) -> Select[Any]:
    """Return the query of one page of checkpoints."""
    query = select(*CheckpointModel.__table__.columns).where(*_conditions(wanted))
    return sorted_after(query, _SORTS[order.sort], order, limit=limit)


def _conditions(wanted: CheckpointFilter) -> list[ColumnElement[bool]]:
    conditions = [
        *equal(CheckpointModel.operation_id, wanted.operation_id),
        *one_of(CheckpointModel.kind, wanted.kinds),
        *one_of(CheckpointModel.reason, wanted.reasons),
        *one_of(CheckpointModel.status, wanted.statuses),
        *begins(CheckpointModel.checkpoint_id, wanted.id_begins),
        *within(CheckpointModel.saved_at, wanted.saved),
    ]
    if wanted.operations is not None:
        conditions.append(CheckpointModel.operation_id.in_(ids_query(wanted.operations)))
    if wanted.root_id is not None:
        descendants = select(OperationModel.operation_id).where(OperationModel.root_id == wanted.root_id)
        conditions.append(CheckpointModel.operation_id.in_(descendants))
    if wanted.name is not None:
        conditions.append(CheckpointModel.operation_id.in_(named(wanted.name)))
    if wanted.worker_ids:
        by_worker = select(AttemptModel.operation_id, AttemptModel.attempt).where(
            AttemptModel.worker_id.in_(wanted.worker_ids)
        )
        conditions.append(tuple_(CheckpointModel.operation_id, CheckpointModel.attempt).in_(by_worker))
    return conditions
