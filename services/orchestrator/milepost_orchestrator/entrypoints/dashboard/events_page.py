"""The timeline of one operation, from the log itself: compact or whole, filtered, to download."""

import json
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from milepost_contracts.events import EVENTS
from milepost_contracts.ids import OperationId
from pydantic import BaseModel, ConfigDict, Field

from milepost_orchestrator.application.live_reader import Interest, LiveReader
from milepost_orchestrator.application.replaying import EventFilter
from milepost_orchestrator.entrypoints.dashboard.event_words import event_words
from milepost_orchestrator.entrypoints.dashboard.navigation import PREFIX, operation_path
from milepost_orchestrator.entrypoints.dashboard.operation_live import OperationProgress, OperationView
from milepost_orchestrator.entrypoints.dashboard.operation_page import no_operation
from milepost_orchestrator.entrypoints.dashboard.operation_parts import parts_context
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.shared_parts import Part, SharedParts
from milepost_orchestrator.entrypoints.http.authorization import may_act
from milepost_orchestrator.entrypoints.http.parameters import SEVERAL_MAX
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.streams import SEQUENCE_MAX, LastEventId

EVENTS_SHOWN = 100
NAMES = tuple(sorted({event.NAME for event in EVENTS.values()}))


class Form(StrEnum):
    """How events are shown."""

    COMPACT = "compact"
    FULL = "full"
    JSON = "json"


class EventsView(BaseModel):
    """What the address of a timeline says."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
    type: list[str] = Field(default=[], max_length=SEVERAL_MAX)
    """Names of events; all but progress when there is none."""
    progress: bool = False
    form: Form = Form.COMPACT
    after: int = Field(default=0, ge=0, le=SEQUENCE_MAX)

    def query(self, **other: object) -> str:
        """Return the address's query with something changed; from the beginning unless it says otherwise."""
        values: dict[str, Any] = {"type": self.type, "form": self.form.value, "after": 0, **other}
        told = {key: value for key, value in values.items() if value not in ([], "compact", 0)}
        told |= {"progress": "true"} if other.get("progress", self.progress) else {}
        return urlencode({key: value for key, value in told.items() if value is not False}, doseq=True)

    def toggled(self, name: str) -> list[str]:
        """Return the names with one more, or one less."""
        return [each for each in self.type if each != name] if name in self.type else [*self.type, name]

    @property
    def filter(self) -> EventFilter:
        """Which events are wanted."""
        return EventFilter(names=frozenset(self.type), progress=self.progress)


class LiveEventsView(EventsView):
    """The address of a timeline's event stream."""

    since: int | None = Field(default=None, ge=0, le=SEQUENCE_MAX)
    """The sequence that the page was made of."""


def events_page(ports: HttpPorts, renderer: Renderer) -> APIRouter:
    """Return the routes of the timeline and of its changes."""
    router = APIRouter(prefix=f"{PREFIX}/operations/{{operation_id}}/events")
    progress = OperationProgress(renderer)
    shared = SharedParts(ports.clock, lambda: ports.projector.position)

    @router.get("")
    async def timeline(  # pyright: ignore[reportUnusedFunction] - a route
        request: Request, operation_id: OperationId, view: Annotated[EventsView, Query()]
    ) -> Response:
        position = ports.projector.position
        context = await read_timeline(ports, operation_id, view, acting=may_act(request))
        if context is None:
            return no_operation(request, renderer, operation_id)
        live_path = f"{context['path']}/live?{view.query(after=view.after, since=position)}"
        return renderer.page(request, "events.html", {**context, "live": False, "live_path": live_path})

    @router.get("/live")
    async def live(  # pyright: ignore[reportUnusedFunction] - a route
        request: Request,
        operation_id: OperationId,
        view: Annotated[LiveEventsView, Query()],
        last_event_id: LastEventId = None,
    ) -> Response:
        acting = may_act(request)

        async def make() -> Part:
            context = await read_timeline(ports, operation_id, view, acting=acting)
            if context is None:
                return Part(b"")
            templates = ("operation_header.html", "events_list.html")
            return Part(b"".join(renderer.part(template, context) for template in templates))

        address = f"{operation_id} {view.query(after=view.after)} {acting}"
        parts = OperationView(
            operation_id,
            address,
            progress,
            shared,
            make,
            is_always_whole=view.progress or "progress" in view.type,
        )
        begin = view.since if last_event_id is None else last_event_id
        reader = LiveReader(ports.live, ports.fleet, Interest(), ports.clock, after=begin, view=parts)
        return ports.streams.respond(reader)

    return router


async def read_timeline(
    ports: HttpPorts, operation_id: str, view: EventsView, *, acting: bool
) -> dict[str, Any] | None:
    """Return what the timeline's templates need; None when there is no such operation."""
    document = await ports.queries.operation(operation_id)
    page = await ports.history.events(
        operation_id, view.filter, after_sequence=view.after, limit=EVENTS_SHOWN
    )
    if document is None or page is None:
        return None
    return {
        **parts_context(document, ports.projector.position, may_act=acting),
        "place": "operations",
        "view": "events",
        "timeline": view,
        "forms": tuple(Form),
        "names": NAMES,
        "path": f"{operation_path(operation_id)}/events",
        "events": [_shown(event, view.form) for event in page.documents],
        "next_after": page.next_cursor,
    }


def _shown(event: dict[str, Any], form: Form) -> dict[str, Any]:
    words = event_words(event)
    if form is Form.JSON:
        return {**event, "words": words, "text": json.dumps(event, indent=2, ensure_ascii=False)}
    fields: dict[str, Any] = event.get("data", {}) if form is Form.FULL else {}
    return {**event, "words": words, "fields": {key: _value(value) for key, value in fields.items()}}


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
