"""Who did what."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from milepost_orchestrator.application.queries import PAGE_MAX
from milepost_orchestrator.entrypoints.http.parameters import Time
from milepost_orchestrator.entrypoints.http.ports import HttpPorts


class DeedsQuery(BaseModel):
    """How many, and how old."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    limit: int = Field(default=50, ge=1, le=PAGE_MAX)
    """How many at most, the newest first."""
    until: Time | None = None
    """Only older ones: the ``at`` of the last one that was read, to go further back."""


def deeds_reading(ports: HttpPorts) -> APIRouter:
    """Return the route that tells who did what."""
    router = APIRouter()

    @router.get("/deeds", summary="Who did what, when and why, with what was before and after.")
    async def deeds(query: Annotated[DeedsQuery, Query()]) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - a route
        found = await ports.system.deeds(query.limit, query.until)
        return {"deeds": [{**asdict(each), "at": each.at.isoformat()} for each in found]}

    return router
