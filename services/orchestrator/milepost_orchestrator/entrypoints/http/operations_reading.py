"""Reading operations."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from milepost_contracts.ids import OperationId, Token

from milepost_orchestrator.application.queries import OperationFilter
from milepost_orchestrator.domain.operation import Status
from milepost_orchestrator.entrypoints.http.parameters import Cursor, Limit
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.problems import not_found


def operations_reading(ports: HttpPorts) -> APIRouter:
    """Return the routes that read operations."""
    router = APIRouter(prefix="/operations")

    @router.get("")
    async def list_operations(  # pyright: ignore[reportUnusedFunction] - a route
        status: Status | None = None,
        kind: Token | None = None,
        parent_id: Token | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> dict[str, Any]:
        wanted = OperationFilter(status.value if status else None, kind, parent_id)
        page = await ports.queries.list_operations(wanted, before=cursor, limit=limit)
        return {"operations": page.documents, "next_cursor": page.next_cursor}

    @router.get("/{operation_id}")
    async def show(operation_id: OperationId) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        document = await ports.queries.operation(operation_id)
        if document is None:
            return not_found("operation", operation_id, "list the operations with `milepost ps`")
        return JSONResponse(document)

    return router
