"""Reading parts of one operation that grow: its metrics and its lineage."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from milepost_contracts.ids import OperationId
from pydantic import BaseModel, ConfigDict, Field

from milepost_orchestrator.application.curves import POINTS_DEFAULT, POINTS_MAX, CurvesWanted
from milepost_orchestrator.entrypoints.http.parameters import SEVERAL_MAX, SearchText
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.problems import not_found

FIX = "list the operations with `milepost ps`"


class MetricsQuery(BaseModel):
    """Which metrics, and how much of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    name: list[SearchText] = Field(default=[], max_length=SEVERAL_MAX)
    """Only these; all of them when absent."""
    points: int = Field(default=POINTS_DEFAULT, ge=8, le=POINTS_MAX)
    """At most so many of each series; with ``after``, of all together."""
    after: int | None = Field(default=None, ge=0, le=2**63 - 1)
    """``sequence`` of the answer before: only what came since, nothing left out."""


def operation_parts_reading(ports: HttpPorts) -> APIRouter:
    """Return the routes that read metrics and lineage."""
    router = APIRouter(prefix="/operations/{operation_id}")

    @router.get("/metrics")
    async def metrics(operation_id: OperationId, query: Annotated[MetricsQuery, Query()]) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        wanted = CurvesWanted(operation_id, tuple(query.name), query.points, query.after)
        document = await ports.curves.read(wanted)
        if not document["series"] and await ports.queries.operation(operation_id) is None:
            return not_found("operation", operation_id, FIX)
        return JSONResponse(document)

    @router.get("/lineage")
    async def lineage(operation_id: OperationId) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        document = await ports.queries.lineage(operation_id)
        return not_found("operation", operation_id, FIX) if document is None else JSONResponse(document)

    return router
