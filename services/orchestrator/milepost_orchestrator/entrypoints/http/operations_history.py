"""Reading what happened to an operation: its events, and its state as of any of them."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, TypeAlias

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse
from milepost_contracts.events import EVENTS, Side
from milepost_contracts.failures import Problem
from milepost_contracts.ids import OperationId
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from milepost_orchestrator.application.documents import Document
from milepost_orchestrator.application.queries import PAGE_MAX
from milepost_orchestrator.application.replaying import EventFilter
from milepost_orchestrator.entrypoints.http.parameters import SEVERAL_MAX, Time
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.problems import not_found, problem

SEQUENCE_MAX = 2**63 - 1
FIX = "list the operations with `milepost ps`"
NAMES = "|".join(sorted({event.NAME for event in EVENTS.values()}))
JSON_LINES = "application/jsonl"
CHUNK_LINES = 200
"""So many lines are sent at a time."""
Sequence: TypeAlias = Annotated[int, Field(ge=0, le=SEQUENCE_MAX)]
EventName: TypeAlias = Annotated[str, StringConstraints(pattern=f"^({NAMES})$")]


class EventsChosen(BaseModel):
    """Which events of an operation, the oldest first."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    type: list[EventName] = Field(default=[], max_length=SEVERAL_MAX)
    """One of these; give it several times for several."""
    side: Side | None = None
    progress: bool = True
    """With or without progress."""
    since: Time | None = None
    until: Time | None = None
    first_sequence: Sequence | None = None
    """Position in the log, included."""
    last_sequence: Sequence | None = None
    """Position in the log, included."""

    def filter(self) -> EventFilter:
        """Return which events are wanted."""
        return EventFilter(
            names=frozenset(self.type),
            side=self.side,
            progress=self.progress,
            since=self.since,
            until=self.until,
            first_sequence=self.first_sequence,
            last_sequence=self.last_sequence,
        )


class EventsQuery(EventsChosen):
    """Which events of an operation, the oldest first, a page of them."""

    cursor: Sequence = 0
    """``next_cursor`` of the page before."""
    limit: int = Field(default=50, ge=1, le=PAGE_MAX)
    """How many at most."""


class StateQuery(BaseModel):
    """As of when; now if nothing is given."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    sequence: Sequence | None = None
    """Position in the log, included."""
    time: Time | None = None
    """Included."""


async def json_lines(documents: AsyncIterator[Document]) -> AsyncIterator[bytes]:
    """Yield documents, each on a line, many lines at a time; what breaks off ends without a last chunk."""
    lines: list[bytes] = []
    async for document in documents:
        lines.append(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        if len(lines) >= CHUNK_LINES:
            yield b"".join(lines)
            lines.clear()
    yield b"".join(lines)


def operations_history(ports: HttpPorts) -> APIRouter:
    """Return the routes that read the log itself."""
    router = APIRouter(prefix="/operations/{operation_id}")

    @router.get("/events")
    async def events(operation_id: OperationId, query: Annotated[EventsQuery, Query()]) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        page = await ports.history.events(
            operation_id, query.filter(), after_sequence=query.cursor, limit=query.limit
        )
        if page is None:
            return not_found("operation", operation_id, FIX)
        return JSONResponse({"events": page.documents, "next_cursor": page.next_cursor})

    @router.get(
        "/events.jsonl",
        summary="All events of an operation, one on a line.",
        response_class=StreamingResponse,
        responses={200: {"content": {JSON_LINES: {}}}},
    )
    async def download(operation_id: OperationId, query: Annotated[EventsChosen, Query()]) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        if await ports.history.events(operation_id, EventFilter(), after_sequence=0, limit=1) is None:
            return not_found("operation", operation_id, FIX)
        name = f'attachment; filename="{operation_id}-events.jsonl"'
        lines = json_lines(ports.history.every_event(operation_id, query.filter()))
        return StreamingResponse(lines, media_type=JSON_LINES, headers={"Content-Disposition": name})

    @router.get("/state")
    async def state(operation_id: OperationId, query: Annotated[StateQuery, Query()]) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        if query.sequence is not None and query.time is not None:
            both = [Problem(field=name, message="give one of the two") for name in ("sequence", "time")]
            return problem(
                422, "invalid-query", "sequence and time are given", "leave one out", problems=both
            )
        found = await ports.history.state(operation_id, sequence=query.sequence, time=query.time)
        if found is not None:
            return JSONResponse(found)
        when = "" if query.sequence is None and query.time is None else " at that moment"
        return not_found("operation", f"{operation_id}{when}", FIX)

    return router
