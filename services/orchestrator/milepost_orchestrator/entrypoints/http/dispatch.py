"""Dispatch: what is held and limited, and the commands that change it."""

from typing import Any, TypeAlias

from fastapi import APIRouter, Response
from milepost_contracts.commands import HoldDispatch, LimitKind, ReleaseDispatch

from milepost_orchestrator.application.answers import Sender
from milepost_orchestrator.entrypoints.http.authorization import ADMINISTRATING, CommandSender
from milepost_orchestrator.entrypoints.http.commanding import send, summary_of
from milepost_orchestrator.entrypoints.http.ports import HttpPorts

LOCATION = "/dispatch"
DispatchBody: TypeAlias = HoldDispatch | ReleaseDispatch | LimitKind


def dispatch(ports: HttpPorts) -> APIRouter:
    """Return the routes about dispatch."""
    router = APIRouter(prefix="/dispatch")

    @router.get("", summary="What is held, by whom and why, and how many of a kind may run at a time.")
    async def policy() -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - a route
        return (await ports.dispatching.policy()).model_dump(mode="json")

    async def answer(command: DispatchBody, sender: Sender) -> Response:
        return await send(ports.handler, command, sender, created=False, location=LOCATION)

    @router.post("/hold", summary=summary_of(HoldDispatch), dependencies=[ADMINISTRATING])
    async def hold(command: HoldDispatch, sender: CommandSender) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        return await answer(command, sender)

    @router.post("/release", summary=summary_of(ReleaseDispatch), dependencies=[ADMINISTRATING])
    async def release(command: ReleaseDispatch, sender: CommandSender) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        return await answer(command, sender)

    @router.post("/limit", summary=summary_of(LimitKind), dependencies=[ADMINISTRATING])
    async def limit(command: LimitKind, sender: CommandSender) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        return await answer(command, sender)

    return router
