"""The fleet: who is alive, and the commands that drain a worker."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from milepost_contracts.commands import DispatchCommand, DrainWorker, UndrainWorker
from milepost_contracts.ids import WorkerId
from milepost_contracts.model import ContractModel
from pydantic import Field, StrictBool

from milepost_orchestrator.application.answers import Sender
from milepost_orchestrator.entrypoints.http.authorization import ADMINISTRATING, CommandSender
from milepost_orchestrator.entrypoints.http.commanding import command_of, send, summary_of
from milepost_orchestrator.entrypoints.http.ports import HttpPorts

LOCATION = "/workers"


class UndrainBody(ContractModel):
    """Why, and whether it is only tried."""

    reason: str | None = Field(default=None, max_length=500)
    dry_run: StrictBool = False


class DrainBody(UndrainBody):
    """How a worker is drained."""

    release: StrictBool = False
    """Do not wait for the end of what it runs: each saves a checkpoint and goes on at another worker."""


def workers(ports: HttpPorts) -> APIRouter:
    """Return the routes about workers."""
    router = APIRouter(prefix=LOCATION)

    @router.get("")
    async def workers() -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - a route
        return {"workers": await ports.queries.workers()}

    async def answer(
        kind: type[DispatchCommand], worker_id: str, body: ContractModel | None, sender: Sender
    ) -> Response:
        command = command_of(kind, body.model_dump() if body else {}, worker_id=worker_id)
        return await send(ports.handler, command, sender, created=False, location=LOCATION)

    @router.post("/{worker_id}/drain", summary=summary_of(DrainWorker), dependencies=[ADMINISTRATING])
    async def drain(  # pyright: ignore[reportUnusedFunction] - a route
        worker_id: WorkerId, sender: CommandSender, body: Annotated[DrainBody | None, Body()] = None
    ) -> Response:
        return await answer(DrainWorker, worker_id, body, sender)

    @router.post("/{worker_id}/undrain", summary=summary_of(UndrainWorker), dependencies=[ADMINISTRATING])
    async def undrain(  # pyright: ignore[reportUnusedFunction] - a route
        worker_id: WorkerId, sender: CommandSender, body: Annotated[UndrainBody | None, Body()] = None
    ) -> Response:
        return await answer(UndrainWorker, worker_id, body, sender)

    return router
