"""Reading checkpoints."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from milepost_contracts.checkpoints import CheckpointReason
from milepost_contracts.ids import OperationId, Token

from milepost_orchestrator.application.queries import CheckpointFilter
from milepost_orchestrator.domain.operation import CheckpointStatus
from milepost_orchestrator.entrypoints.http.parameters import Cursor, Limit
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.problems import not_found


def checkpoints_reading(ports: HttpPorts) -> APIRouter:
    """Return the routes that read checkpoints."""
    router = APIRouter(prefix="/checkpoints")

    @router.get("")
    async def list_checkpoints(  # pyright: ignore[reportUnusedFunction] - a route
        operation_id: OperationId | None = None,
        kind: Token | None = None,
        reason: CheckpointReason | None = None,
        status: CheckpointStatus | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> dict[str, Any]:
        wanted = CheckpointFilter(
            operation_id, kind, reason.value if reason else None, status.value if status else None
        )
        page = await ports.queries.list_checkpoints(wanted, before=cursor, limit=limit)
        return {"checkpoints": page.documents, "next_cursor": page.next_cursor}

    @router.get("/{checkpoint_id}")
    async def show(checkpoint_id: Token) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        document = await ports.queries.checkpoint(checkpoint_id)
        if document is None:
            return not_found(
                "checkpoint", checkpoint_id, "list the checkpoints with `milepost checkpoints list`"
            )
        return JSONResponse(document)

    return router
