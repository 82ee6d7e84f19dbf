"""The dashboard put together: its pages, its files, and where they are."""

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from milepost_orchestrator.entrypoints.access import AccessTokens
from milepost_orchestrator.entrypoints.dashboard.actions import actions
from milepost_orchestrator.entrypoints.dashboard.assets import asset_routes, load_assets
from milepost_orchestrator.entrypoints.dashboard.bulk_actions import bulk_actions
from milepost_orchestrator.entrypoints.dashboard.events_page import events_page
from milepost_orchestrator.entrypoints.dashboard.fleet_page import fleet_page
from milepost_orchestrator.entrypoints.dashboard.fork_page import fork_page
from milepost_orchestrator.entrypoints.dashboard.lineage_page import lineage_page
from milepost_orchestrator.entrypoints.dashboard.login_page import login_page
from milepost_orchestrator.entrypoints.dashboard.navigation import PREFIX
from milepost_orchestrator.entrypoints.dashboard.operation_page import operation_page
from milepost_orchestrator.entrypoints.dashboard.operations_page import operations_page
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.replay_page import replay_page
from milepost_orchestrator.entrypoints.dashboard.system_page import system_page
from milepost_orchestrator.entrypoints.http.ports import HttpPorts

PAGES = (
    operations_page,
    operation_page,
    events_page,
    lineage_page,
    replay_page,
    fork_page,
    fleet_page,
    system_page,
    actions,
    bulk_actions,
)
"""Each makes its routes from the ports and the renderer."""


def dashboard(ports: HttpPorts, access: AccessTokens) -> APIRouter:
    """Return every route of the dashboard; none of them is part of the API that OpenAPI describes."""
    assets = load_assets()
    renderer = Renderer(assets)
    router = APIRouter(include_in_schema=False)
    for page in PAGES:
        router.include_router(page(ports, renderer))
    router.include_router(login_page(access, ports.clock, renderer))
    router.include_router(asset_routes(assets))

    @router.get("/")
    @router.get(PREFIX)
    async def home() -> RedirectResponse:  # pyright: ignore[reportUnusedFunction] - a route
        return RedirectResponse(f"{PREFIX}/operations", status_code=307)

    return router
