"""Commands to operations: start, cancel, resume."""

from typing import Any

from fastapi import APIRouter, Response
from milepost_contracts.commands import CancelOperation, ResumeOperation, StartOperation
from milepost_contracts.ids import OperationId, Token
from milepost_contracts.model import ContractModel

from milepost_orchestrator.entrypoints.http.commanding import command_of, send
from milepost_orchestrator.entrypoints.http.parameters import IdempotencyKey
from milepost_orchestrator.entrypoints.http.ports import HttpPorts


class CancelBody(ContractModel):
    """A cancel without the operation's id, which is in the path."""

    reason: str | None = None
    at_unit: int | None = None
    dry_run: bool = False


class ResumeBody(ContractModel):
    """A resume without the operation's id, which is in the path."""

    checkpoint_id: Token | None = None
    name: str | None = None
    options: dict[str, Any] | None = None
    dry_run: bool = False


def operations_commanding(ports: HttpPorts) -> APIRouter:
    """Return the routes that change operations."""
    router = APIRouter(prefix="/operations")

    @router.post("", status_code=201)
    async def start(command: StartOperation, key: IdempotencyKey = None) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        return await send(ports.handler, command, key, created=True)

    @router.post("/{operation_id}/cancel")
    async def cancel(  # pyright: ignore[reportUnusedFunction] - a route
        operation_id: OperationId, body: CancelBody | None = None, key: IdempotencyKey = None
    ) -> Response:
        fields = (body or CancelBody()).model_dump()
        command = command_of(CancelOperation, fields, operation_id=operation_id)
        return await send(ports.handler, command, key, created=False)

    @router.post("/{operation_id}/resume", status_code=201)
    async def resume(  # pyright: ignore[reportUnusedFunction] - a route
        operation_id: OperationId, body: ResumeBody | None = None, key: IdempotencyKey = None
    ) -> Response:
        fields = (body or ResumeBody()).model_dump()
        command = command_of(ResumeOperation, fields, operation_id=operation_id)
        return await send(ports.handler, command, key, created=True)

    return router
