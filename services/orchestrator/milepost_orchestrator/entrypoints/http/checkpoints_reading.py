"""Reading checkpoints."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from milepost_contracts.checkpoints import CheckpointReason
from milepost_contracts.ids import Token
from pydantic import Field

from milepost_orchestrator.application.filters import CheckpointFilter, CheckpointSort
from milepost_orchestrator.domain.operation import CheckpointStatus
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


class CheckpointsFilterQuery(FilterQuery):
    """Which checkpoints."""

    operation_id: Token | None = None
    root_id: Token | None = None
    """Of this operation and all that descend from it."""
    kind: list[Token] = Field(default=[], max_length=SEVERAL_MAX)
    reason: list[CheckpointReason] = Field(default=[], max_length=SEVERAL_MAX)
    """One of these; give it several times for several."""
    status: list[CheckpointStatus] = Field(default=[], max_length=SEVERAL_MAX)
    worker_id: list[Token] = Field(default=[], max_length=SEVERAL_MAX)
    """The worker that saved it."""
    id_begins: Beginning | None = None
    name: SearchText | None = None
    """Part of the operation's name, in any case."""
    saved_since: Time | None = None
    saved_before: Time | None = None
    age_seconds_min: AgeSeconds | None = None
    """Saved this long ago or longer."""
    age_seconds_max: AgeSeconds | None = None

    def filter(self, now: datetime) -> CheckpointFilter:
        """Return which checkpoints are wanted."""
        return CheckpointFilter(
            operation_id=self.operation_id,
            root_id=self.root_id,
            kinds=tuple(self.kind),
            reasons=tuple(reason.value for reason in self.reason),
            statuses=tuple(status.value for status in self.status),
            worker_ids=tuple(self.worker_id),
            id_begins=self.id_begins,
            name=self.name,
            saved=time_range(
                now, self.saved_since, self.saved_before, self.age_seconds_min, self.age_seconds_max
            ),
        )


class CheckpointsQuery(CheckpointsFilterQuery, ListQuery):
    """Which checkpoints, in which order."""

    sort: CheckpointSort = CheckpointSort.SAVED


def checkpoints_reading(ports: HttpPorts) -> APIRouter:
    """Return the routes that read checkpoints."""
    router = APIRouter(prefix="/checkpoints")

    @router.get("")
    async def list_checkpoints(query: Annotated[CheckpointsQuery, Query()]) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - a route
        order = order_of(query.sort, descending=query.is_descending, cursor=query.cursor)
        wanted = query.filter(ports.clock.now())
        page = await ports.queries.list_checkpoints(wanted, order, limit=query.limit)
        return {"checkpoints": page.documents, "next_cursor": cursor_of(order, page.next_position)}

    @router.get("/{checkpoint_id}")
    async def show(checkpoint_id: Token) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        document = await ports.queries.checkpoint(checkpoint_id)
        if document is None:
            return not_found(
                "checkpoint", checkpoint_id, "list the checkpoints with `milepost checkpoints list`"
            )
        return JSONResponse(document)

    return router
