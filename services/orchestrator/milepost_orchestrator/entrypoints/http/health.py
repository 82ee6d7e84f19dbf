"""What a supervisor asks."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from milepost_contracts.failures import Problem

from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.problems import problem


def health(ports: HttpPorts) -> APIRouter:
    """Return the routes that say whether this process lives and can work."""
    router = APIRouter()

    @router.get("/livez")
    async def alive() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction] - a route
        return {"status": "alive"}

    @router.get("/readyz")
    async def ready() -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        found = await ports.readiness.check()
        position = ports.projector.position
        lag = max(found.last_sequence - position, 0) if found.last_sequence is not None else None
        projector = {"sequence": position, "last_sequence": found.last_sequence, "lag_events": lag}
        if found.ready:
            return JSONResponse({"status": "ready", "down": {}, "projector": projector})
        names = ", ".join(sorted(found.down))
        return problem(
            503,
            "unavailable",
            f"down: {names}",
            "`milepost doctor` says what is wrong",
            problems=[Problem(field=name, message=words) for name, words in sorted(found.down.items())],
            down=found.down,
            projector=projector,
        )

    return router
