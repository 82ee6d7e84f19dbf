"""The query behind cleanups: which operations have checkpoints that the rules may remove."""

from datetime import datetime
from typing import Any

from milepost_contracts.cleanup import CleanUpCheckpoints
from sqlalchemy import Select, func, or_, select

from milepost_orchestrator.adapters.conditions import equal, one_of
from milepost_orchestrator.adapters.models import CheckpointModel
from milepost_orchestrator.domain.operation import CheckpointStatus

_KEPT = (CheckpointStatus.SAVED.value, CheckpointStatus.RECORDED.value)


def operations_to_clean_query(
    rules: CleanUpCheckpoints, *, saved_before: datetime | None, after_id: str, limit: int
) -> Select[Any]:
    """Return the query of a page of operations, sorted by id.

    Only the rules that a row can be asked about are in it: age, kind, and the newest of each operation.
    """
    ranked = _ranked(rules, after_id)
    columns = ranked.c
    wanted = select(columns.operation_id).distinct()
    if saved_before is not None:
        wanted = wanted.where(columns.saved_at <= saved_before)
    if rules.keep_newest:
        wanted = wanted.where(or_(columns.place > rules.keep_newest, columns.status.not_in(_KEPT)))
    return wanted.order_by(columns.operation_id).limit(limit)


def _ranked(rules: CleanUpCheckpoints, after_id: str) -> Any:  # a subquery's columns have no types
    place = func.row_number().over(
        partition_by=(CheckpointModel.operation_id, CheckpointModel.status.in_(_KEPT)),
        order_by=(CheckpointModel.unit.desc(), CheckpointModel.sequence.desc()),
    )
    return (
        select(
            CheckpointModel.operation_id,
            CheckpointModel.saved_at,
            CheckpointModel.status,
            place.label("place"),
        )
        .where(CheckpointModel.operation_id > after_id)
        .where(*one_of(CheckpointModel.kind, rules.kinds))
        .where(*equal(CheckpointModel.operation_id, rules.operation_id))
        .subquery()
    )
