"""Result files of operations: listed, and fetched from the store itself where it has addresses of its own."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, RedirectResponse
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.ids import OperationId
from milepost_runtime.errors import ArtifactDamagedError, ArtifactMissingError
from milepost_runtime.store.port import ArtifactStore
from starlette.background import BackgroundTask

from milepost_orchestrator.application.documents import Document
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.problems import not_found, problem

URL_SECONDS = 600
"""How long an address of the store can be used: long enough to begin a download, too short to be passed on."""

_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes", "content": {"*/*": {}}},
    307: {"description": "Where the bytes are, for a short time"},
}


def results_reading(ports: HttpPorts) -> APIRouter:
    """Return the routes that read results."""
    router = APIRouter(prefix="/operations/{operation_id}/results")

    @router.get("", response_model=None)
    async def list_results(operation_id: OperationId) -> Response | dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - a route
        document = await ports.queries.operation(operation_id)
        if document is None:
            return not_found("operation", operation_id, "list the operations with `milepost ps`")
        files = [
            {**item, "url": f"/operations/{operation_id}/results/{item['name']}"}
            for item in document["results"]
        ]
        return {"operation_id": operation_id, "status": document["status"], "results": files}

    @router.get("/{name}", response_model=None, responses=_CONTENT)
    async def fetch(operation_id: OperationId, name: str) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        document = await ports.queries.operation(operation_id)
        if document is None:
            return not_found("operation", operation_id, "list the operations with `milepost ps`")
        reference = _named(document, name)
        if reference is None:
            return not_found("result", name, f"GET /operations/{operation_id}/results names what there is")
        return await _content(ports.store, reference)

    return router


def _named(document: Document, name: str) -> ArtifactReference | None:
    found = (item for item in document["results"] if item["name"] == name)
    item = next(found, None)
    return ArtifactReference.model_validate(item) if item is not None else None


async def _content(store: ArtifactStore, reference: ArtifactReference) -> Response:
    if not await asyncio.to_thread(store.exists, reference):
        return _gone(f"{reference.name} is missing in the store")
    try:
        url = await asyncio.to_thread(store.address, reference, seconds=URL_SECONDS)
        if url is not None:
            return RedirectResponse(url, status_code=307, headers={"Cache-Control": "no-store"})
        return await _verified_file(store, reference)
    except (ArtifactMissingError, ArtifactDamagedError) as error:
        return _gone(str(error))


def _gone(words: str) -> Response:
    return problem(
        410, "artifacts-missing", words, "the bytes are gone from the store; run the operation again"
    )


async def _verified_file(store: ArtifactStore, reference: ArtifactReference) -> Response:
    directory = tempfile.TemporaryDirectory(prefix="milepost-r-")
    path = Path(directory.name) / reference.name
    try:
        await asyncio.to_thread(store.get_file, reference, path)
    except BaseException:
        directory.cleanup()
        raise
    return FileResponse(
        path,
        filename=reference.name,
        media_type=reference.media_type,
        content_disposition_type="attachment",
        background=BackgroundTask(directory.cleanup),
    )
