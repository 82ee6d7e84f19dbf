"""What an administrator does with a worker: drain it, and let it take work again."""

from fastapi import APIRouter, Depends, Request, Response
from milepost_contracts.commands import DrainWorker, UndrainWorker

from milepost_orchestrator.entrypoints.dashboard.actions import answered, form_of, require_own_page, sent
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.http.authorization import ADMINISTRATING, person_of
from milepost_orchestrator.entrypoints.http.ports import HttpPorts

DRAINED = "Within seconds it takes nothing new."
UNDRAINED = "Within seconds it takes work again."


def fleet_actions(ports: HttpPorts, renderer: Renderer) -> APIRouter:
    """Return the routes; only an administrator's own page comes in."""
    router = APIRouter(dependencies=[Depends(require_own_page), ADMINISTRATING])

    @router.post("/drain")
    async def drain(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        fields = dict(await form_of(request))
        release = fields.pop("release", "false") == "true"
        verdict = await sent(ports, person_of(request), DrainWorker, {**fields, "release": release})
        return answered(renderer, verdict, DRAINED, creating=False)

    @router.post("/undrain/{worker_id}")
    async def undrain(request: Request, worker_id: str) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        verdict = await sent(ports, person_of(request), UndrainWorker, {"worker_id": worker_id})
        return answered(renderer, verdict, UNDRAINED, creating=False)

    return router
