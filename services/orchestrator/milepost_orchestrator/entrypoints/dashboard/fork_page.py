"""A fork: the spec to edit, what is changed, and what the orchestrator would say, before anything starts."""

import json
from dataclasses import dataclass
from typing import Any, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse
from milepost_contracts.commands import ForkOperation
from milepost_contracts.ids import OperationId
from milepost_contracts.verdicts import Rejected
from milepost_runtime.history.differences import ABSENT, Difference, differences

from milepost_orchestrator.application.documents import Document
from milepost_orchestrator.entrypoints.dashboard.actions import answered, form_of, require_own_page, sent
from milepost_orchestrator.entrypoints.dashboard.merge_patch import merge_patch
from milepost_orchestrator.entrypoints.dashboard.navigation import PREFIX
from milepost_orchestrator.entrypoints.dashboard.operation_page import no_operation
from milepost_orchestrator.entrypoints.dashboard.operation_parts import parts_context
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.http.authorization import may_act, person_of
from milepost_orchestrator.entrypoints.http.ports import HttpPorts


@dataclass(frozen=True, slots=True)
class Edited:
    """What the editor holds, compared with the operation's spec."""

    changes: dict[str, Any]
    differences: tuple[Difference, ...]
    error: str | None = None
    """Why it is no spec at all."""


def fork_page(ports: HttpPorts, renderer: Renderer) -> APIRouter:
    """Return the routes of the editor, of its preview, and of the fork itself."""
    router = APIRouter(prefix=f"{PREFIX}/operations/{{operation_id}}/fork")

    @router.get("")
    async def editor(  # pyright: ignore[reportUnusedFunction] - a route
        request: Request, operation_id: OperationId, checkpoint_id: str | None = None
    ) -> Response:
        document = await ports.queries.operation(operation_id)
        if document is None:
            return no_operation(request, renderer, operation_id)
        context = {
            **parts_context(document, ports.projector.position, may_act=may_act(request)),
            "place": "operations",
            "view": "fork",
            "live": False,
            "checkpoint_id": checkpoint_id,
            "kept": [each for each in document["checkpoints"] if each["status"] != "refused"],
            "spec": json.dumps(document["spec"], indent=2, ensure_ascii=False),
        }
        return renderer.page(request, "fork.html", context)

    @router.post("/preview", dependencies=[Depends(require_own_page)])
    async def preview(request: Request, operation_id: OperationId) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        edited, fields = await _edited(request, operation_id)
        verdict = None
        if edited.error is None and edited.changes:
            verdict = await sent(ports, person_of(request), ForkOperation, {**fields, "dry_run": True})
        rejected = verdict if isinstance(verdict, Rejected) else None
        context = {"edited": edited, "rejected": rejected, "absent": ABSENT}
        return HTMLResponse(renderer.text("fork_preview.html", context))

    @router.post("", dependencies=[Depends(require_own_page)])
    async def fork(request: Request, operation_id: OperationId) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        _, fields = await _edited(request, operation_id)
        return answered(
            renderer,
            await sent(ports, person_of(request), ForkOperation, fields),
            "It is forked.",
            creating=True,
        )

    async def _edited(request: Request, operation_id: str) -> tuple[Edited, dict[str, Any]]:
        form = await form_of(request)
        document: Document = await ports.queries.operation(operation_id) or {"spec": {}}
        edited = compared(document["spec"], form.pop("spec", ""))
        return edited, {**form, "operation_id": operation_id, "changes": edited.changes}

    return router


def compared(spec: dict[str, Any], text: str) -> Edited:
    """Return what a text changes about a spec."""
    try:
        after = json.loads(text)
    except ValueError as error:
        return Edited({}, (), f"This is not JSON: {error}.")
    if not isinstance(after, dict):
        return Edited({}, (), "A spec is an object: { … }.")
    after = cast("dict[str, Any]", after)
    return Edited(merge_patch(spec, after), tuple(differences(spec, after)))
