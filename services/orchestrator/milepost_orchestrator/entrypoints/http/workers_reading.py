"""Reading the fleet."""

from typing import Any

from fastapi import APIRouter

from milepost_orchestrator.entrypoints.http.ports import HttpPorts


def workers_reading(ports: HttpPorts) -> APIRouter:
    """Return the routes that read the fleet."""
    router = APIRouter(prefix="/workers")

    @router.get("")
    async def workers() -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - a route
        return {"workers": await ports.queries.workers()}

    return router
