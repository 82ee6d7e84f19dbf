"""What is kept in the store: sums over checkpoints, and the sweep of orphans."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import JSONResponse
from milepost_contracts.model import ContractModel
from pydantic import Field, StrictBool

from milepost_orchestrator.application.documents import Document
from milepost_orchestrator.application.errors import StoreSharedError
from milepost_orchestrator.application.orphans import OrphanReport
from milepost_orchestrator.application.storage import storage_document
from milepost_orchestrator.entrypoints.http.authorization import SOURCE, person_of
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.problems import problem


class SweepOrphans(ContractModel):
    """Remove from the store what nothing refers to."""

    grace_seconds: float | None = Field(strict=True, default=None, ge=0, le=1e10)
    """Only what is older; the stack's own grace when absent, or when that is longer."""
    dry_run: StrictBool = False
    """Count and name orphans, and do nothing."""


def storage(ports: HttpPorts) -> APIRouter:
    """Return the routes about what is kept."""
    router = APIRouter()

    @router.get("/storage", summary="How much is kept, by kind, status and age, and how much was deleted")
    async def sums() -> Document:  # pyright: ignore[reportUnusedFunction] - a route
        return storage_document(await ports.storage.storage(ports.clock.now()))

    @router.post("/storage/orphans", summary="Remove from the store what nothing refers to")
    async def sweep(  # pyright: ignore[reportUnusedFunction] - a route
        request: Request,
        body: Annotated[SweepOrphans | None, Body()] = None,
    ) -> Response:
        wanted = body or SweepOrphans()
        try:
            report = await ports.orphans.sweep(dry_run=wanted.dry_run, grace_seconds=wanted.grace_seconds)
        except StoreSharedError as error:
            return problem(
                409,
                "store-shared",
                str(error),
                "give each stack a bucket of its own (MILEPOST_S3_BUCKET); if the log was lost, restore it first",
            )
        await ports.system.swept(report, person_of(request).source(SOURCE))
        return JSONResponse(orphans_document(report))

    return router


def orphans_document(report: OrphanReport) -> Document:
    """Return a sweep's report as clients see it."""
    named = [
        {"key": each.key, "size_bytes": each.size_bytes, "modified_at": each.modified_at.isoformat()}
        for each in report.named
    ]
    return {**asdict(report), "named": named}
