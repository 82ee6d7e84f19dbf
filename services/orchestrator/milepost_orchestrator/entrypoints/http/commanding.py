"""From a request to a command and from a verdict to a response, the same for every command."""

from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import APIRouter, Body, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from milepost_contracts.cleanup import CleanedUp
from milepost_contracts.commands import (
    Command,
    ForkOperation,
    ResumeOperation,
    RetryOperation,
    StartOperation,
    command_name,
)
from milepost_contracts.ids import OperationId
from milepost_contracts.model import ContractModel
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected
from pydantic import ValidationError, create_model

from milepost_orchestrator.application.answers import AnyAnswer, Sender
from milepost_orchestrator.application.commands import CommandHandler
from milepost_orchestrator.entrypoints.http.authorization import CommandSender
from milepost_orchestrator.entrypoints.http.problems import problem_of

CREATING = (StartOperation, ResumeOperation, ForkOperation, RetryOperation)
"""Commands that make an operation: accepted they are answered with 201."""
CommandT = TypeVar("CommandT", bound=ContractModel)


def add_command(router: APIRouter, handler: CommandHandler, command_type: type[Command], path: str) -> None:
    """Add a command about one operation, whose id is in the path; what it holds beside that is in the body."""
    body_type = body_of(command_type, without=("operation_id",))
    may_be_absent = not any(field.is_required() for field in body_type.model_fields.values())
    default: Any = Body(default=None) if may_be_absent else Body()

    async def about_operation(
        operation_id: OperationId, sender: CommandSender, body: Any = default
    ) -> Response:
        given: ContractModel = body or body_type()
        command = command_of(command_type, given.model_dump(), operation_id=operation_id)
        return await send(handler, command, sender, created=command_type in CREATING)

    about_operation.__annotations__["body"] = body_type | None if may_be_absent else body_type
    router.post(
        path,
        status_code=201 if command_type in CREATING else 200,
        summary=summary_of(command_type),
        name=command_name(command_type),
    )(about_operation)


def body_of(command: type[Command], *, without: tuple[str, ...]) -> type[ContractModel]:
    """Return the command's model without the fields that the path holds."""
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in command.model_fields.items() if name not in without
    }
    return create_model(f"{command.__name__}Body", __base__=ContractModel, __doc__=command.__doc__, **fields)


def summary_of(command: type[Command]) -> str:
    """Return the first line of what the command says about itself."""
    return (command.__doc__ or "").partition("\n")[0]


def command_of(command: type[CommandT], fields: Mapping[str, Any], **path: str) -> CommandT:
    """Build a command from a body and what is in the path, with its faults told as those of the body."""
    try:
        return command.model_validate({**fields, **path})
    except ValidationError as error:
        raise RequestValidationError(
            [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]
        ) from error


async def send(
    handler: CommandHandler, command: Command, sender: Sender, *, created: bool, location: str | None = None
) -> Response:
    """Answer a command; ``created`` says whether accepting it makes something new.

    ``location`` is where to look at what it was about, if that is no operation.
    """
    verdict = await handler.handle(command, sender)
    return response_of(verdict, created=created, location=location)


def response_of(verdict: AnyAnswer, *, created: bool, location: str | None = None) -> Response:
    """Return a verdict as a response."""
    match verdict:
        case Rejected():
            return problem_of(verdict)
        case CleanedUp():
            return JSONResponse(verdict.model_dump(mode="json"))
        case Accepted():
            status = 201 if created and not verdict.dry_run else 200
        case Duplicate():
            status = 200
    return JSONResponse(
        verdict.model_dump(mode="json"),
        status_code=status,
        headers={"Location": location or f"/operations/{verdict.operation_id}"},
    )
