"""What an administrator changes for everyone: holds and limits of dispatch, and the quarantine tried again."""

from collections.abc import Sequence

import structlog
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse
from milepost_contracts.commands import DispatchCommand, HoldDispatch, LimitKind, ReleaseDispatch
from milepost_contracts.ids import OperationId
from milepost_runtime.clock import random_id
from milepost_runtime.errors import RuntimeServiceError

from milepost_orchestrator.application.answers import unavailable
from milepost_orchestrator.application.quarantine import Retried
from milepost_orchestrator.entrypoints.dashboard.actions import (
    SOURCE,
    answered,
    form_of,
    require_own_page,
    sent,
)
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.system_reading import SystemReading
from milepost_orchestrator.entrypoints.http.authorization import ADMINISTRATING, person_of
from milepost_orchestrator.entrypoints.http.ports import HttpPorts

log = structlog.get_logger()
ABOUT_DISPATCH: dict[str, tuple[type[DispatchCommand], str]] = {
    "hold": (HoldDispatch, "Nothing new is given to workers; what runs goes on."),
    "release": (ReleaseDispatch, "Work is given out again."),
    "release/{kind}": (ReleaseDispatch, "Work of this kind is given out again."),
    "limit": (LimitKind, "The limit holds from now on; what runs goes on."),
}
"""Commands by their path, and what is said when they are accepted."""


def system_actions(ports: HttpPorts, renderer: Renderer, reading: SystemReading) -> APIRouter:
    """Return the routes; only an administrator's own page comes in."""
    router = APIRouter(dependencies=[Depends(require_own_page), ADMINISTRATING])

    def add(path: str, command_type: type[DispatchCommand], words: str) -> None:
        async def act(request: Request) -> Response:
            fields = {**await form_of(request), **request.path_params}
            verdict = await sent(ports, person_of(request), command_type, fields)
            reading.forget()
            return answered(renderer, verdict, words, creating=False)

        router.post(f"/dispatch/{path}", name=f"dispatch {path}")(act)

    for path, (command_type, words) in ABOUT_DISPATCH.items():
        add(path, command_type, words)

    async def retry(request: Request, operation_id: OperationId | None = None) -> Response:
        source = person_of(request).source(SOURCE)
        try:
            retried = await ports.system.redeliver(operation_id, source)
        except RuntimeServiceError as error:
            return answered(renderer, unavailable(random_id("cmd"), str(error)), "", creating=False)
        log.info("quarantine tried again", operation_id=operation_id, requested_by=source)
        reading.forget()
        words = retried_words(retried)
        return HTMLResponse(renderer.text("notice.html", {"verdict": None, "words": words}))

    router.post("/quarantine/retry", name="retry all")(retry)
    router.post("/quarantine/retry/{operation_id}", name="retry one")(retry)
    return router


def retried_words(retried: Sequence[Retried]) -> str:
    """Return what came of trying again, in a sentence."""
    applied = sum(len(each.applied) for each in retried)
    refused = sum(len(each.refused) for each in retried)
    if not applied and not refused:
        return "Nothing was in quarantine."
    kept = f"; {refused} cannot be applied yet, the reason stands beside them" if refused else ""
    return f"{applied} of {applied + refused} applied{kept}."
