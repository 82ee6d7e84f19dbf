"""One operation: what it is, how far it is, its curves, checkpoints, attempts, results, and what can be done."""

import json
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from markupsafe import Markup
from milepost_contracts.ids import OperationId

from milepost_orchestrator.application.live_reader import Interest, LiveReader
from milepost_orchestrator.entrypoints.dashboard.navigation import PREFIX, operation_path
from milepost_orchestrator.entrypoints.dashboard.operation_live import OperationProgress, OperationView
from milepost_orchestrator.entrypoints.dashboard.operation_parts import live_parts, parts_context
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.shared_parts import Part, SharedParts
from milepost_orchestrator.entrypoints.http.authorization import may_act
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.streams import SEQUENCE_MAX, LastEventId


def operation_page(ports: HttpPorts, renderer: Renderer) -> APIRouter:
    """Return the routes of the overview of one operation and of its changes."""
    router = APIRouter(prefix=f"{PREFIX}/operations/{{operation_id}}")
    progress = OperationProgress(renderer)
    shared = SharedParts(ports.clock, lambda: ports.projector.position)

    @router.get("")
    async def overview(request: Request, operation_id: str) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        position = ports.projector.position
        document = await ports.queries.operation(operation_id)
        if document is None:
            return no_operation(request, renderer, operation_id)
        context = parts_context(document, position, may_act=may_act(request))
        parts = renderer.text("operation_parts.html", {**context, "live": False})
        live_path = f"{operation_path(operation_id)}/live?{urlencode({'after': position})}"
        shown = {
            **context,
            "place": "operations",
            "view": "overview",
            "live": False,
            "live_path": live_path,
            "parts": Markup(parts),  # noqa: S704 - made by a template, escaped there
            "spec": json.dumps(document["spec"], indent=2, ensure_ascii=False),
        }
        return renderer.page(request, "operation.html", shown)

    @router.get("/live")
    async def live(  # pyright: ignore[reportUnusedFunction] - a route
        request: Request,
        operation_id: OperationId,
        after: Annotated[int | None, Query(ge=0, le=SEQUENCE_MAX)] = None,
        last_event_id: LastEventId = None,
    ) -> Response:
        acting = may_act(request)

        async def make() -> Part:
            position = ports.projector.position
            document = await ports.queries.operation(operation_id)
            return Part(b"" if document is None else live_parts(renderer, document, position, may_act=acting))

        address = f"{operation_path(operation_id)} {acting}"
        view = OperationView(operation_id, address, progress, shared, make)
        begin = after if last_event_id is None else last_event_id
        reader = LiveReader(ports.live, ports.fleet, Interest(), ports.clock, after=begin, view=view)
        return ports.streams.respond(reader)

    return router


def no_operation(request: Request, renderer: Renderer, operation_id: str) -> Response:
    """Return the page for an operation that is not there."""
    context = {
        "place": "operations",
        "title": "There is no such operation",
        "words": f"Nothing is known of {operation_id}.",
    }
    return renderer.page(request, "failure.html", context, status=404)
