"""The past of an operation, event by event: the state as of each one, and what it changed."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from milepost_contracts.ids import OperationId
from milepost_runtime.history.differences import ABSENT

from milepost_orchestrator.application.replaying import event_document
from milepost_orchestrator.entrypoints.dashboard.event_words import event_words
from milepost_orchestrator.entrypoints.dashboard.navigation import PREFIX, operation_path
from milepost_orchestrator.entrypoints.dashboard.operation_page import no_operation
from milepost_orchestrator.entrypoints.dashboard.operation_parts import parts_context
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.http.authorization import may_act
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.streams import SEQUENCE_MAX

CHANGES_SHOWN = 200


def replay_page(ports: HttpPorts, renderer: Renderer) -> APIRouter:
    """Return the route of the replay; a script that scrubs gets the moment without the page around it."""
    router = APIRouter(prefix=f"{PREFIX}/operations/{{operation_id}}/replay")

    @router.get("")
    async def replay(  # pyright: ignore[reportUnusedFunction] - a route
        request: Request,
        operation_id: OperationId,
        seq: Annotated[int | None, Query(ge=0, le=SEQUENCE_MAX)] = None,
        number: Annotated[int | None, Query(ge=1, le=SEQUENCE_MAX)] = None,
    ) -> Response:
        context = await read_moment(ports, operation_id, seq, number)
        if context is None:
            return no_operation(request, renderer, operation_id)
        if request.headers.get("HX-Request") == "true":
            return HTMLResponse(renderer.text("replay_moment.html", context))
        document = await ports.queries.operation(operation_id)
        if document is None:
            return no_operation(request, renderer, operation_id)
        header = parts_context(document, ports.projector.position, may_act=may_act(request))
        shown = {**context, **header, "place": "operations", "view": "replay", "live": False}
        return renderer.page(request, "replay.html", shown)

    return router


async def read_moment(
    ports: HttpPorts, operation_id: str, sequence: int | None, number: int | None
) -> dict[str, Any] | None:
    """Return what the templates need; None when there is no such operation."""
    moment = await ports.history.moment(operation_id, sequence=sequence, number=number)
    if moment is None:
        return None
    event = event_document(moment.entry)
    return {
        "moment_shown": moment,
        "event": event,
        "words": event_words(event),
        "changes": moment.changes[:CHANGES_SHOWN],
        "absent": ABSENT,
        "state_text": json.dumps(moment.state, indent=2, ensure_ascii=False),
        "path": f"{operation_path(operation_id)}/replay",
    }
