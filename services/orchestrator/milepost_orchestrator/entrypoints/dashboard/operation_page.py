"""One operation: what it is, how far it is, what happened to it, and what can be done about it."""

from fastapi import APIRouter, Request, Response

from milepost_orchestrator.entrypoints.dashboard.navigation import PREFIX
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.http.ports import HttpPorts


def operation_page(ports: HttpPorts, renderer: Renderer) -> APIRouter:
    """Return the routes of the overview of one operation."""
    router = APIRouter(prefix=f"{PREFIX}/operations/{{operation_id}}")

    @router.get("")
    async def overview(request: Request, operation_id: str) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        document = await ports.queries.operation(operation_id)
        if document is None:
            context = {
                "place": "operations",
                "title": "There is no such operation",
                "words": f"Nothing is known of {operation_id}.",
            }
            return renderer.page(request, "failure.html", context, status=404)
        context = {"place": "operations", "view": "overview", "operation": document}
        return renderer.page(request, "operation.html", context)

    return router
