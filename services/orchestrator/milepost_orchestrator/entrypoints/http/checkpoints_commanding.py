"""Commands about checkpoints: pin, unpin, delete. The operation that a checkpoint belongs to is looked up."""

from typing import Annotated, TypeAlias

from fastapi import APIRouter, Body, Query, Response
from milepost_contracts.commands import DeleteCheckpoint, PinCheckpoint, UnpinCheckpoint
from milepost_contracts.ids import CheckpointId, OperationId
from milepost_contracts.model import ContractModel
from pydantic import Field

from milepost_orchestrator.application.answers import Sender
from milepost_orchestrator.entrypoints.http.authorization import CommandSender
from milepost_orchestrator.entrypoints.http.commanding import command_of, send, summary_of
from milepost_orchestrator.entrypoints.http.parameters import Flag
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.problems import problem

CheckpointCommand: TypeAlias = type[PinCheckpoint] | type[UnpinCheckpoint] | type[DeleteCheckpoint]


class AboutCheckpoint(ContractModel):
    """What a command about a checkpoint holds beside its id."""

    operation_id: OperationId | None = None
    """Whose it is; looked up when absent, which takes a moment for one that was saved just now."""
    reason: str | None = Field(default=None, max_length=500)
    dry_run: Flag = False


def checkpoints_commanding(ports: HttpPorts) -> APIRouter:
    """Return the routes that change checkpoints."""
    router = APIRouter(prefix="/checkpoints")

    async def answer(
        command_type: CheckpointCommand, checkpoint_id: str, given: AboutCheckpoint, sender: Sender
    ) -> Response:
        operation_id = given.operation_id
        if operation_id is None:
            document = await ports.queries.checkpoint(checkpoint_id)
            if document is None:
                return problem(
                    404,
                    "checkpoint-not-found",
                    f"there is no checkpoint {checkpoint_id}",
                    "list the checkpoints with `milepost checkpoints list`",
                    operation_id=None,
                )
            operation_id = document["operation_id"]
        fields = {**given.model_dump(), "operation_id": operation_id}
        command = command_of(command_type, fields, checkpoint_id=checkpoint_id)
        return await send(ports.handler, command, sender, created=False)

    @router.post("/{checkpoint_id}/pin", summary=summary_of(PinCheckpoint))
    async def pin(  # pyright: ignore[reportUnusedFunction] - a route
        checkpoint_id: CheckpointId,
        sender: CommandSender,
        body: Annotated[AboutCheckpoint | None, Body()] = None,
    ) -> Response:
        return await answer(PinCheckpoint, checkpoint_id, body or AboutCheckpoint(), sender)

    @router.post("/{checkpoint_id}/unpin", summary=summary_of(UnpinCheckpoint))
    async def unpin(  # pyright: ignore[reportUnusedFunction] - a route
        checkpoint_id: CheckpointId,
        sender: CommandSender,
        body: Annotated[AboutCheckpoint | None, Body()] = None,
    ) -> Response:
        return await answer(UnpinCheckpoint, checkpoint_id, body or AboutCheckpoint(), sender)

    @router.delete("/{checkpoint_id}", summary=summary_of(DeleteCheckpoint))
    async def delete(  # pyright: ignore[reportUnusedFunction] - a route
        checkpoint_id: CheckpointId,
        given: Annotated[AboutCheckpoint, Query()],
        sender: CommandSender,
    ) -> Response:
        return await answer(DeleteCheckpoint, checkpoint_id, given, sender)

    return router
