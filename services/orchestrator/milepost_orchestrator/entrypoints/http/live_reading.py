"""Live changes as server-sent events: one stream for everything that a page shows.

``changes`` carry an id, the sequence; the browser sends it back as ``Last-Event-ID`` when it connects again, to
whichever orchestrator, and goes on from there.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from milepost_contracts.ids import OperationId
from pydantic import BaseModel, ConfigDict, Field

from milepost_orchestrator.application.live_reader import Interest, LiveReader
from milepost_orchestrator.application.queries import PAGE_MAX
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.streams import SEQUENCE_MAX, LastEventId


class LiveQuery(BaseModel):
    """What a page shows."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    operations: bool = False
    """Every operation that changes."""
    operation_id: list[OperationId] = Field(default=[], max_length=PAGE_MAX)
    """Only these; of the others only how many have changed."""
    detail: OperationId | None = None
    """One operation with its events, attempts, checkpoints and metrics as they come."""
    fleet: bool = False
    """The live workers, whenever they differ."""
    after: int | None = Field(default=None, ge=0, le=SEQUENCE_MAX)
    """``Milepost-Sequence`` of the answer that the page was made of, so that nothing falls in between."""

    @property
    def interest(self) -> Interest:
        """What is to be sent."""
        return Interest(self.operations, frozenset(self.operation_id), self.detail, self.fleet)


def live_reading(ports: HttpPorts) -> APIRouter:
    """Return the route of live changes."""
    router = APIRouter()

    @router.get("/live", response_class=StreamingResponse)
    async def live(  # pyright: ignore[reportUnusedFunction] - a route
        query: Annotated[LiveQuery, Query()],
        last_event_id: LastEventId = None,
    ) -> Response:
        after = query.after if last_event_id is None else last_event_id
        reader = LiveReader(ports.live, ports.fleet, query.interest, ports.clock, after=after)
        return ports.streams.respond(reader)

    return router
