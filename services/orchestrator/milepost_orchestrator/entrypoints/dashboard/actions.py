"""What a person does on a page: commands as from anywhere else, answered with a notice or with the new operation.

Only a page of ours can send them: the header that htmx sets cannot come from another site's form, and a browser
says where a request comes from.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse
from milepost_contracts.commands import (
    CancelOperation,
    CheckpointNow,
    DeleteCheckpoint,
    DispatchCommand,
    OperationCommand,
    PinCheckpoint,
    ResumeOperation,
    RetryOperation,
    UnpinCheckpoint,
)
from milepost_contracts.failures import Problem
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected
from milepost_runtime.clock import random_id
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from milepost_orchestrator.application.answers import Answer, Sender, invalid_command
from milepost_orchestrator.entrypoints.dashboard.cancel_form import cancel_command
from milepost_orchestrator.entrypoints.dashboard.navigation import PREFIX, operation_path
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.http.authorization import person_of
from milepost_orchestrator.entrypoints.http.commanding import CREATING
from milepost_orchestrator.entrypoints.http.ports import HttpPorts
from milepost_orchestrator.entrypoints.http.problems import problem_of
from milepost_orchestrator.entrypoints.roles import Person

SOURCE = "/dashboard"
FIELDS_MAX = 20
ABOUT_OPERATION: dict[str, tuple[type[OperationCommand], str]] = {
    "cancel": (CancelOperation, "It is being cancelled: it finishes its unit and saves a checkpoint."),
    "checkpoint-now": (CheckpointNow, "A checkpoint is saved at the next unit."),
    "resume": (ResumeOperation, "It goes on."),
    "retry": (RetryOperation, "It is done again."),
}
"""Commands by their path, and what is said when they are accepted."""
ABOUT_CHECKPOINT: dict[str, tuple[type[OperationCommand], str]] = {
    "resume": (ResumeOperation, "It goes on."),
    "pin": (PinCheckpoint, "The checkpoint is pinned: it cannot be deleted."),
    "unpin": (UnpinCheckpoint, "The checkpoint can be deleted again."),
    "delete": (DeleteCheckpoint, "The checkpoint is deleted."),
}


def actions(ports: HttpPorts, renderer: Renderer) -> APIRouter:
    """Return the routes that change something."""
    router = APIRouter(
        prefix=f"{PREFIX}/operations/{{operation_id}}", dependencies=[Depends(require_own_page)]
    )

    def add(path: str, command_type: type[OperationCommand], words: str) -> None:
        async def act(request: Request) -> Response:
            fields = {**await form_of(request), **request.path_params}
            verdict = await sent(ports, person_of(request), command_type, fields)
            return answered(renderer, verdict, words, creating=command_type in CREATING)

        router.post(path, name=f"{command_type.__name__} {path}")(act)

    for name, (command_type, words) in ABOUT_OPERATION.items():
        add(f"/{name}", command_type, words)
    for name, (command_type, words) in ABOUT_CHECKPOINT.items():
        add(f"/checkpoints/{{checkpoint_id}}/{name}", command_type, words)
    return router


async def require_own_page(request: Request) -> None:
    """Refuse what another site's page may have sent."""
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    if request.headers.get("HX-Request") != "true" or site != "same-origin":
        raise HTTPException(403, "only a page of the dashboard can do this")


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form; those that were left empty count as not given."""
    body = (await request.body()).decode("utf-8", errors="replace")
    try:
        fields = parse_qsl(body, keep_blank_values=False, max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise HTTPException(422, f"at most {FIELDS_MAX} fields") from error
    return dict(fields)


async def sent(
    ports: HttpPorts,
    person: Person,
    command_type: type[OperationCommand | DispatchCommand],
    fields: Mapping[str, Any],
) -> Answer:
    """Return the verdict on a command; fields that make none are told by name."""
    command_id = random_id("cmd")
    try:
        is_cancel = command_type is CancelOperation
        command = cancel_command(fields) if is_cancel else command_type.model_validate(fields)
    except ValidationError as error:
        return invalid_command(command_id, "what was entered cannot be used", problems_of(error))
    return await ports.handler.handle(command, Sender(command_id, person.source(SOURCE)))


def problems_of(error: ValidationError) -> tuple[Problem, ...]:
    """Return everything that is wrong with what was entered, by field."""
    return tuple(
        Problem(field=".".join(str(part) for part in fault["loc"]) or "command", message=str(fault["msg"]))
        for fault in error.errors()
    )


def answered(renderer: Renderer, verdict: Answer, words: str, *, creating: bool) -> Response:
    """Return a notice, or send the browser to the operation that was made."""
    match verdict:
        case Rejected():
            status = problem_of(verdict).status_code
        case Accepted() | Duplicate():
            status = 200
            if creating and not getattr(verdict, "dry_run", False):
                return Response(
                    status_code=204, headers={"HX-Redirect": operation_path(verdict.operation_id)}
                )
    return HTMLResponse(
        renderer.text("notice.html", {"verdict": verdict, "words": words}), status_code=status
    )
