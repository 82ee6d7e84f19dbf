"""From a request to a command and from a verdict to a response, the same for every command."""

from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from milepost_contracts.commands import Command
from milepost_contracts.model import ContractModel
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected
from milepost_runtime.clock import random_id
from pydantic import ValidationError

from milepost_orchestrator.application.commands import CommandHandler, Sender
from milepost_orchestrator.entrypoints.http.problems import problem_of

SOURCE = "/http"
CommandT = TypeVar("CommandT", bound=ContractModel)


def command_of(command: type[CommandT], fields: Mapping[str, Any], **path: str) -> CommandT:
    """Build a command from a body and what is in the path, with its faults told as those of the body."""
    try:
        return command.model_validate({**fields, **path})
    except ValidationError as error:
        raise RequestValidationError(
            [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]
        ) from error


async def send(handler: CommandHandler, command: Command, key: str | None, *, created: bool) -> Response:
    """Answer a command; ``created`` says whether accepting it makes something new."""
    verdict = await handler.handle(command, Sender(key or random_id("cmd"), SOURCE))
    return response_of(verdict, created=created)


def response_of(verdict: Accepted | Duplicate | Rejected, *, created: bool) -> Response:
    """Return a verdict as a response."""
    match verdict:
        case Rejected():
            return problem_of(verdict)
        case Accepted():
            status = 201 if created and not verdict.dry_run else 200
        case Duplicate():
            status = 200
    return JSONResponse(
        verdict.model_dump(mode="json"),
        status_code=status,
        headers={"Location": f"/operations/{verdict.operation_id}"},
    )
