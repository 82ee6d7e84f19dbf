"""Live changes as server-sent events: one stream for everything that a page shows.

``changes`` carry an id, the sequence; the browser sends it back as ``Last-Event-ID`` when it connects again, to
whichever orchestrator, and goes on from there.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from milepost_contracts.ids import OperationId
from pydantic import BaseModel, ConfigDict, Field

from milepost_orchestrator.application.live_reader import Frame, Interest, LiveReader
from milepost_orchestrator.application.queries import PAGE_MAX
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.problems import problem

READERS_MAX = 1000
RETRY_MILLISECONDS = 1000
"""How long a browser waits before it connects again."""
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
SEQUENCE_MAX = 2**63 - 1


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
    open_readers: set[LiveReader] = set()

    @router.get("/live", response_class=StreamingResponse)
    async def live(  # pyright: ignore[reportUnusedFunction] - a route
        query: Annotated[LiveQuery, Query()],
        last_event_id: Annotated[
            int | None, Header(ge=0, le=SEQUENCE_MAX, description="Sent by a browser that comes back.")
        ] = None,
    ) -> Response:
        if len(open_readers) >= READERS_MAX:
            return problem(503, "too-many-readers", f"{READERS_MAX} pages are open", "close some of them")
        after = query.after if last_event_id is None else last_event_id
        reader = LiveReader(ports.live, ports.fleet, query.interest, ports.clock, after=after)

        async def content() -> AsyncIterator[bytes]:
            open_readers.add(reader)
            try:
                yield b"retry: %d\n\n" % RETRY_MILLISECONDS
                async for frame in reader.frames():
                    yield encoded(frame)
            finally:
                open_readers.discard(reader)

        return StreamingResponse(content(), media_type="text/event-stream", headers=_HEADERS)

    return router


def encoded(frame: Frame) -> bytes:
    """Return a frame as lines of an event stream (HTML Standard, 9.2); its data is one line of JSON."""
    if frame.event == "heartbeat":
        return b": still here\n\n"
    number = b"" if frame.sequence is None else b"id: %d\n" % frame.sequence
    return b"%bevent: %b\ndata: %b\n\n" % (number, frame.event.encode(), frame.data)
