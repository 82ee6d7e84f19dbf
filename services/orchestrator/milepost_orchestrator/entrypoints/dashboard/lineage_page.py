"""Where an operation comes from and what came of it: the tree, and what each branch has otherwise."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from milepost_contracts.ids import OperationId

from milepost_orchestrator.application.live import LiveBatch
from milepost_orchestrator.application.live_reader import Interest, LiveReader
from milepost_orchestrator.entrypoints.dashboard.lineage_layout import BOX_PIXELS, drawing_of
from milepost_orchestrator.entrypoints.dashboard.navigation import PREFIX, operation_path
from milepost_orchestrator.entrypoints.dashboard.operation_page import no_operation
from milepost_orchestrator.entrypoints.dashboard.operation_parts import parts_context
from milepost_orchestrator.entrypoints.dashboard.parts_view import PartsView
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.shared_parts import Part, SharedParts
from milepost_orchestrator.entrypoints.http.authorization import may_act
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.streams import SEQUENCE_MAX, LastEventId

TEMPLATES = ("operation_header.html", "lineage_tree.html")


class LineageView(PartsView):
    """Implements ``LiveView``: the tree again when one of it has moved on, or one was added."""

    def __init__(
        self, root_id: str, address: str, shared: SharedParts, make: Callable[[], Awaitable[Part]]
    ) -> None:
        self._root_id = root_id
        self._address = address
        self._shared = shared
        self._make = make

    async def changes(self, batches: Sequence[LiveBatch]) -> bytes | None:
        """See ``LiveView``."""
        rows = (version.row for batch in batches for version in batch.versions.values())
        return (
            await self.again(batches[-1].sequence)
            if any(row.root_id == self._root_id for row in rows)
            else None
        )

    async def again(self, sequence: int) -> bytes:
        """See ``LiveView``."""
        return (await self._shared.get(self._address, sequence, self._make)).html


def lineage_page(ports: HttpPorts, renderer: Renderer) -> APIRouter:
    """Return the routes of the tree and of its changes."""
    router = APIRouter(prefix=f"{PREFIX}/operations/{{operation_id}}/lineage")
    shared = SharedParts(ports.clock, lambda: ports.projector.position)

    @router.get("")
    async def lineage(request: Request, operation_id: OperationId) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        position = ports.projector.position
        context = await read_lineage(ports, operation_id, acting=may_act(request))
        if context is None:
            return no_operation(request, renderer, operation_id)
        query = urlencode({"root_id": context["operation"]["root_id"], "after": position})
        live_path = f"{operation_path(operation_id)}/lineage/live?{query}"
        return renderer.page(request, "lineage.html", {**context, "live": False, "live_path": live_path})

    @router.get("/live")
    async def live(  # pyright: ignore[reportUnusedFunction] - a route
        request: Request,
        operation_id: OperationId,
        root_id: OperationId,
        after: Annotated[int | None, Query(ge=0, le=SEQUENCE_MAX)] = None,
        last_event_id: LastEventId = None,
    ) -> Response:
        acting = may_act(request)

        async def make() -> Part:
            context = await read_lineage(ports, operation_id, acting=acting)
            if context is None:
                return Part(b"")
            return Part(b"".join(renderer.part(template, context) for template in TEMPLATES))

        view = LineageView(root_id, f"{operation_id} {acting}", shared, make)
        begin = after if last_event_id is None else last_event_id
        reader = LiveReader(ports.live, ports.fleet, Interest(), ports.clock, after=begin, view=view)
        return ports.streams.respond(reader)

    return router


async def read_lineage(ports: HttpPorts, operation_id: str, *, acting: bool) -> dict[str, Any] | None:
    """Return what the templates need; None when there is no such operation."""
    document = await ports.queries.operation(operation_id)
    tree = await ports.queries.lineage(operation_id)
    if document is None or tree is None:
        return None
    return {
        **parts_context(document, ports.projector.position, may_act=acting),
        "place": "operations",
        "view": "lineage",
        "drawing": drawing_of(tree["operations"]),
        "box": BOX_PIXELS,
        "tree": tree,
    }
