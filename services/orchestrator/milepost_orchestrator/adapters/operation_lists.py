"""The queries behind lists of operations."""

from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, cast, func, select

from milepost_orchestrator.adapters.conditions import begins, contains, equal, one_of, within
from milepost_orchestrator.adapters.keyset import SortKey, sorted_after
from milepost_orchestrator.adapters.models import (
    ENDED_OR_NEVER,
    IS_LONG_REASON,
    STARTED_OR_NEVER,
    CheckpointModel,
    OperationModel,
)
from milepost_orchestrator.application.filters import OperationFilter, OperationSort, Order

_SEQUENCE = OperationModel.requested_sequence
_COLUMNS = [column for column in OperationModel.__table__.columns if not column.name.startswith("searched_")]
_SORTS = {
    OperationSort.REQUESTED: SortKey(None, _SEQUENCE.expression),
    OperationSort.STARTED: SortKey(STARTED_OR_NEVER, _SEQUENCE.expression, cast(STARTED_OR_NEVER, Text)),
    OperationSort.ENDED: SortKey(ENDED_OR_NEVER, _SEQUENCE.expression, cast(ENDED_OR_NEVER, Text)),
    OperationSort.NAME: SortKey(OperationModel.searched_name.expression, _SEQUENCE.expression),
    OperationSort.KIND: SortKey(OperationModel.kind.expression, _SEQUENCE.expression),
    OperationSort.STATUS: SortKey(OperationModel.status.expression, _SEQUENCE.expression),
}


def operations_query(wanted: OperationFilter, order: Order[OperationSort], *, limit: int) -> Select[Any]:
    """Return the query of one page of operations."""
    by_name = order.sort is OperationSort.NAME
    if by_name and wanted.name is not None and wanted == OperationFilter(name=wanted.name):
        return _page_by_name(wanted.name, order, limit=limit)
    query = select(*_COLUMNS).where(*_conditions(wanted), *one_of(OperationModel.status, wanted.statuses))
    return sorted_after(query, _SORTS[order.sort], order, limit=limit)


def _page_by_name(part: str, order: Order[OperationSort], *, limit: int) -> Select[Any]:
    """Return the query of a page by name of a word alone: found in the index, in its order, and no more of it."""
    key = _SORTS[OperationSort.NAME]
    found = select(OperationModel.operation_id).where(contains(OperationModel.searched_name, part))
    page = sorted_after(found, key, order, limit=limit).cte("page").prefix_with("MATERIALIZED")
    query = select(*_COLUMNS).where(OperationModel.operation_id.in_(select(page.c.operation_id)))
    return sorted_after(query, key, replace(order, after=None), limit=limit)


def operation_counts_query(wanted: OperationFilter) -> Select[str, int]:
    """Return the query of how many operations there are of each status, whatever statuses are wanted."""
    query = select(OperationModel.status, func.count()).where(*_conditions(wanted))
    return query.group_by(OperationModel.status)


def lineage_query(operation_id: str, *, limit: int) -> Select[Any]:
    """Return the query of an operation's whole tree, in the order of requests, with ``origin_unit``."""
    root = select(OperationModel.root_id).where(OperationModel.operation_id == operation_id).scalar_subquery()
    origin_unit = (
        select(CheckpointModel.unit)
        .where(CheckpointModel.checkpoint_id == OperationModel.origin_checkpoint_id)
        .limit(1)
        .scalar_subquery()
    )
    query = select(*_COLUMNS, origin_unit.label("origin_unit")).where(OperationModel.root_id == root)
    return query.order_by(_SEQUENCE).limit(limit)


def ids_query(wanted: OperationFilter) -> Select[str]:
    """Return the query of the ids of all operations that are wanted."""
    conditions = (*_conditions(wanted), *one_of(OperationModel.status, wanted.statuses))
    return select(OperationModel.operation_id).where(*conditions)


def named(part: str) -> Select[str]:
    """Return the query of the operations that have this in their name, in any case.

    It reads nothing but one small index, so also a word that no name has is answered at once. Materialized:
    Postgres would otherwise see that it is about the same table, and read that instead.
    """
    found = select(OperationModel.operation_id).where(contains(OperationModel.searched_name, part))
    return select(found.cte("named").prefix_with("MATERIALIZED").c.operation_id)


def _reasoned(part: str) -> Select[str]:
    """Return the query of the operations that have this in their reason, in any case; see ``named``."""
    short = select(OperationModel.operation_id).where(contains(OperationModel.searched_reason, part))
    long = select(OperationModel.operation_id).where(
        IS_LONG_REASON, contains(func.lower(OperationModel.reason), part)
    )
    return select(short.union_all(long).cte("reasoned").prefix_with("MATERIALIZED").c.operation_id)


def _conditions(wanted: OperationFilter) -> list[ColumnElement[bool]]:
    conditions = [
        *one_of(OperationModel.operation_id, wanted.operation_ids),
        *one_of(OperationModel.kind, wanted.kinds),
        *one_of(OperationModel.queue, wanted.queues),
        *one_of(OperationModel.worker_id, wanted.worker_ids),
        *begins(OperationModel.operation_id, wanted.id_begins),
        *equal(OperationModel.parent_id, wanted.parent_id),
        *equal(OperationModel.root_id, wanted.root_id),
        *within(OperationModel.requested_at, wanted.requested),
        *within(OperationModel.started_at, wanted.started),
        *within(OperationModel.ended_at, wanted.ended),
    ]
    if wanted.name is not None:
        conditions.append(OperationModel.operation_id.in_(named(wanted.name)))
    if wanted.reason is not None:
        conditions.append(OperationModel.operation_id.in_(_reasoned(wanted.reason)))
    return conditions
