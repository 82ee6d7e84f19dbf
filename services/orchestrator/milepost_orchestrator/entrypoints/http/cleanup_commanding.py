"""``POST /cleanup``: the command that deletes checkpoints by rules."""

from typing import Annotated

from fastapi import APIRouter, Body, Response
from milepost_contracts.cleanup import CleanUpCheckpoints

from milepost_orchestrator.entrypoints.http.authorization import ADMINISTRATING, CommandSender
from milepost_orchestrator.entrypoints.http.commanding import send, summary_of
from milepost_orchestrator.entrypoints.http.ports import HttpPorts


def cleanup_commanding(ports: HttpPorts) -> APIRouter:
    """Return the route of cleanups."""
    router = APIRouter()

    @router.post("/cleanup", summary=summary_of(CleanUpCheckpoints), dependencies=[ADMINISTRATING])
    async def clean_up(  # pyright: ignore[reportUnusedFunction] - a route
        body: Annotated[CleanUpCheckpoints, Body()], sender: CommandSender
    ) -> Response:
        return await send(ports.handler, body, sender, created=False)

    return router
