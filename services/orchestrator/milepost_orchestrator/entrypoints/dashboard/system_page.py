"""The stack as a whole: streams, read models, store, quarantine, dispatch, and who did what."""

from fastapi import APIRouter, Request, Response

from milepost_orchestrator.entrypoints.dashboard.navigation import SYSTEM
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.system_actions import system_actions
from milepost_orchestrator.entrypoints.dashboard.system_cleanup import system_cleanup
from milepost_orchestrator.entrypoints.dashboard.system_live import SECTIONS, SystemReader
from milepost_orchestrator.entrypoints.dashboard.system_reading import SystemReading
from milepost_orchestrator.entrypoints.http.authorization import may_administer
from milepost_orchestrator.entrypoints.http.ports import HttpPorts


def system_page(ports: HttpPorts, renderer: Renderer) -> APIRouter:
    """Return the routes of the page, of its changes, and of what an administrator does there."""
    router = APIRouter(prefix=SYSTEM)
    reading = SystemReading(ports)

    @router.get("")
    async def system(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        shown = {
            **await reading.context(),
            "place": "system",
            "live": False,
            "live_path": f"{SYSTEM}/live",
            "may_administer": may_administer(request),
            "sections": [f"system_{name}.html" for name in SECTIONS],
        }
        return renderer.page(request, "system.html", shown)

    @router.get("/live")
    async def live(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        reader = SystemReader(ports.live, reading, renderer, may_administer=may_administer(request))
        return ports.streams.respond(reader)

    router.include_router(system_actions(ports, renderer, reading))
    router.include_router(system_cleanup(ports, renderer, reading))
    return router
