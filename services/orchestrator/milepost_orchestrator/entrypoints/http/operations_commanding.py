"""Commands to operations: a body is the command itself, less what the path says; the rules are the handler's."""

from fastapi import APIRouter, Response
from milepost_contracts.commands import COMMANDS, StartOperation

from milepost_orchestrator.entrypoints.http.authorization import CommandSender
from milepost_orchestrator.entrypoints.http.commanding import add_command, send, summary_of
from milepost_orchestrator.entrypoints.http.ports import HttpPorts

ABOUT_AN_OPERATION = ("cancel", "resume", "fork", "retry", "checkpoint-now", "prioritize")
"""Commands at ``POST /operations/{operation_id}/<command>``."""


def operations_commanding(ports: HttpPorts) -> APIRouter:
    """Return the routes that change operations."""
    router = APIRouter(prefix="/operations")

    @router.post("", status_code=201, summary=summary_of(StartOperation))
    async def start(command: StartOperation, sender: CommandSender) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        return await send(ports.handler, command, sender, created=True)

    for name in ABOUT_AN_OPERATION:
        add_command(router, ports.handler, COMMANDS[name], f"/{{operation_id}}/{name}")
    return router
