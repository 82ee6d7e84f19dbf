"""The past of an operation, event by event: the state as of each one, and what it changed."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from milepost_contracts.ids import OperationId
from milepost_runtime.history.differences import ABSENT
from pydantic_core import to_json

from milepost_orchestrator.application.documents import Document
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
CHECKPOINTS_SHOWN = 50
"""Of the state as JSON, the newest: nobody reads a thousand, and they are most of the work and of what is sent."""


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
    count = len(moment.state["checkpoints"]) if moment.state is not None else 0
    return {
        "moment_shown": moment,
        "event": event,
        "words": event_words(event),
        "changes": moment.changes[:CHANGES_SHOWN],
        "absent": ABSENT,
        "state_text": state_text(moment.state),
        "checkpoints_shown": min(count, CHECKPOINTS_SHOWN),
        "path": f"{operation_path(operation_id)}/replay",
        "state_path": f"/operations/{operation_id}/state?sequence={event['sequence']}",
    }


def state_text(state: Document | None) -> str:
    """Return a state as JSON for people, of its checkpoints the newest."""
    if state is not None and len(state["checkpoints"]) > CHECKPOINTS_SHOWN:
        newest = list(state["checkpoints"].items())[-CHECKPOINTS_SHOWN:]
        state = {**state, "checkpoints": dict(newest)}
    return to_json(state, indent=2, inf_nan_mode="constants").decode()
