"""Reading operations."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from milepost_contracts.ids import OperationId, Token
from pydantic import Field

from milepost_orchestrator.application.filters import OperationFilter, OperationSort
from milepost_orchestrator.domain.operation import Status
from milepost_orchestrator.entrypoints.http.paging import cursor_of, order_of
from milepost_orchestrator.entrypoints.http.parameters import (
    SEVERAL_MAX,
    AgeSeconds,
    Beginning,
    FilterQuery,
    ListQuery,
    SearchText,
    Time,
    time_range,
)
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.problems import not_found


class OperationsFilterQuery(FilterQuery):
    """Which operations."""

    status: list[Status] = Field(default=[], max_length=SEVERAL_MAX)
    """One of these; give it several times for several."""
    kind: list[Token] = Field(default=[], max_length=SEVERAL_MAX)
    queue: list[Token] = Field(default=[], max_length=SEVERAL_MAX)
    worker_id: list[Token] = Field(default=[], max_length=SEVERAL_MAX)
    """The worker that has it, or had it last."""
    id_begins: Beginning | None = None
    name: SearchText | None = None
    """Part of the name, in any case."""
    reason: SearchText | None = None
    """Part of why it was cancelled or failed, in any case."""
    parent_id: Token | None = None
    root_id: Token | None = None
    """This operation and all that descend from it."""
    requested_since: Time | None = None
    requested_before: Time | None = None
    age_seconds_min: AgeSeconds | None = None
    """Requested this long ago or longer."""
    age_seconds_max: AgeSeconds | None = None
    started_since: Time | None = None
    started_before: Time | None = None
    ended_since: Time | None = None
    ended_before: Time | None = None

    def filter(self, now: datetime) -> OperationFilter:
        """Return which operations are wanted."""
        return OperationFilter(
            statuses=tuple(status.value for status in self.status),
            kinds=tuple(self.kind),
            queues=tuple(self.queue),
            worker_ids=tuple(self.worker_id),
            id_begins=self.id_begins,
            parent_id=self.parent_id,
            root_id=self.root_id,
            name=self.name,
            reason=self.reason,
            requested=time_range(
                now, self.requested_since, self.requested_before, self.age_seconds_min, self.age_seconds_max
            ),
            started=time_range(now, self.started_since, self.started_before),
            ended=time_range(now, self.ended_since, self.ended_before),
        )


class OperationsQuery(OperationsFilterQuery, ListQuery):
    """Which operations, in which order."""

    sort: OperationSort = OperationSort.REQUESTED
    counts: bool = False
    """Also say how many operations of each status fit; ``status`` itself does not matter for it."""


def operations_reading(ports: HttpPorts) -> APIRouter:
    """Return the routes that read operations."""
    router = APIRouter(prefix="/operations")

    @router.get("")
    async def list_operations(query: Annotated[OperationsQuery, Query()]) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - a route
        order = order_of(query.sort, descending=query.is_descending, cursor=query.cursor)
        wanted = query.filter(ports.clock.now())
        page = await ports.queries.list_operations(wanted, order, limit=query.limit)
        counts = {"counts": await ports.queries.count_operations(wanted)} if query.counts else {}
        return {
            "operations": page.documents,
            "next_cursor": cursor_of(order, page.next_position),
            **counts,
        }

    @router.get("/{operation_id}")
    async def show(operation_id: OperationId) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        document = await ports.queries.operation(operation_id)
        if document is None:
            return not_found("operation", operation_id, "list the operations with `milepost ps`")
        return JSONResponse(document)

    return router
