"""The workers that are alive: what they run, on what, and when they were heard of last."""

import json
from typing import Any

from fastapi import APIRouter, Request, Response

from milepost_orchestrator.application.live_reader import Interest, LiveReader
from milepost_orchestrator.entrypoints.dashboard.fleet_actions import fleet_actions
from milepost_orchestrator.entrypoints.dashboard.navigation import PREFIX
from milepost_orchestrator.entrypoints.dashboard.parts_view import PartsView
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.http.authorization import may_administer
from milepost_orchestrator.entrypoints.http.ports import HttpPorts

PATH = f"{PREFIX}/fleet"


class FleetParts(PartsView):
    """Implements ``LiveView``: the table of workers, made once for all pages of those who may do the same."""

    def __init__(self, renderer: Renderer, *, may_administer: bool) -> None:
        self._renderer = renderer
        self._may_administer = may_administer
        self._workers: bytes | None = None
        self._part = b""

    def fleet(self, workers: bytes) -> bytes:
        """See ``LiveView``; the workers are the very same object until they differ."""
        if workers is not self._workers:
            context = fleet_context(json.loads(workers)["workers"], may_administer=self._may_administer)
            self._workers, self._part = workers, self._renderer.part("fleet_table.html", context)
        return self._part


def fleet_page(ports: HttpPorts, renderer: Renderer) -> APIRouter:
    """Return the routes of the fleet and of its changes."""
    router = APIRouter(prefix=PATH)
    parts = {each: FleetParts(renderer, may_administer=each) for each in (False, True)}

    @router.get("")
    async def fleet(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        workers = await ports.queries.workers()
        context = fleet_context(workers, may_administer=may_administer(request))
        shown = {**context, "place": "fleet", "live": False, "live_path": f"{PATH}/live"}
        return renderer.page(request, "fleet.html", shown)

    @router.get("/live")
    async def live(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        view = parts[may_administer(request)]
        reader = LiveReader(ports.live, ports.fleet, Interest(fleet=True), ports.clock, after=None, view=view)
        return ports.streams.respond(reader)

    router.include_router(fleet_actions(ports, renderer))
    return router


def fleet_context(workers: list[dict[str, Any]], *, may_administer: bool) -> dict[str, Any]:
    """Return what the table needs: workers by kind and name, and the slots of each kind."""
    ordered = sorted(workers, key=lambda each: (each["kind"], each["worker_id"]))
    kinds = {
        kind: {"slots": 0, "taken": 0, "drained": 0}
        for kind in dict.fromkeys(each["kind"] for each in ordered)
    }
    for each in ordered:
        kinds[each["kind"]]["slots"] += each["slots"]
        kinds[each["kind"]]["taken"] += len(each["operations"])
        kinds[each["kind"]]["drained"] += each["slots"] if each["drain"] else 0
    return {"workers": ordered, "kinds": kinds, "may_administer": may_administer}
