"""The HTTP entrance: the same handler and the same answers as on the bus, and the read models."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from milepost_contracts.checkpoints import CheckpointReason
from milepost_contracts.commands import CancelOperation, Command, ResumeOperation, StartOperation
from milepost_contracts.failures import Problem
from milepost_contracts.ids import CommandId, OperationId, Token
from milepost_contracts.model import ContractModel
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected
from milepost_runtime.clock import random_id
from milepost_runtime.errors import RuntimeServiceError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from milepost_orchestrator.adapters.readiness import ReadinessChecks
from milepost_orchestrator.application.commands import CommandHandler, Sender
from milepost_orchestrator.application.projector import Projector
from milepost_orchestrator.application.queries import PAGE_MAX, CheckpointFilter, OperationFilter, Queries
from milepost_orchestrator.domain.operation import CheckpointStatus, Status
from milepost_orchestrator.entrypoints.problems import problem, problem_of

SOURCE = "/http"
OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""What a supervisor asks, without a token."""
BODY_BYTES_MAX = 1024 * 1024

IdempotencyKey = Annotated[CommandId | None, Header(alias="Idempotency-Key")]
Cursor = Annotated[int | None, Query(ge=0, description="``next_cursor`` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]


class CancelBody(ContractModel):
    """A cancel without the operation's id, which is in the path."""

    reason: str | None = None
    at_unit: int | None = None
    dry_run: bool = False


class ResumeBody(ContractModel):
    """A resume without the operation's id, which is in the path."""

    checkpoint_id: Token | None = None
    name: str | None = None
    options: dict[str, Any] | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class HttpPorts:
    """What the HTTP entrance works with."""

    handler: CommandHandler
    queries: Queries
    readiness: ReadinessChecks
    projector: Projector


def create_app(ports: HttpPorts, *, token: str | None) -> FastAPI:
    """Return the application; nothing is opened before it is served."""
    app = FastAPI(title="Milepost", version="1", dependencies=[Depends(_require(token))])
    app.include_router(_operations(ports))
    app.include_router(_checkpoints(ports))
    app.include_router(_health(ports))
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(RuntimeServiceError, _away)
    app.add_exception_handler(HTTPException, _http_error)
    app.middleware("http")(_bounded_body)
    return app


# --- operations -----------------------------------------------------------------------------------


def _operations(ports: HttpPorts) -> APIRouter:
    router = APIRouter(prefix="/operations")

    async def send(command: Command, key: str | None) -> Response:
        verdict = await ports.handler.handle(command, Sender(key or random_id("cmd"), SOURCE))
        return _response(verdict, created=not isinstance(command, CancelOperation))

    @router.post("", status_code=201)
    async def start(command: StartOperation, key: IdempotencyKey = None) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        return await send(command, key)

    @router.post("/{operation_id}/cancel")
    async def cancel(  # pyright: ignore[reportUnusedFunction] - a route
        operation_id: OperationId, body: CancelBody | None = None, key: IdempotencyKey = None
    ) -> Response:
        fields = (body or CancelBody()).model_dump()
        return await send(_command(CancelOperation, operation_id, fields), key)

    @router.post("/{operation_id}/resume", status_code=201)
    async def resume(  # pyright: ignore[reportUnusedFunction] - a route
        operation_id: OperationId, body: ResumeBody | None = None, key: IdempotencyKey = None
    ) -> Response:
        fields = (body or ResumeBody()).model_dump()
        return await send(_command(ResumeOperation, operation_id, fields), key)

    @router.get("")
    async def list_operations(  # pyright: ignore[reportUnusedFunction] - a route
        status: Status | None = None,
        kind: Token | None = None,
        parent_id: Token | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> dict[str, Any]:
        wanted = OperationFilter(status.value if status else None, kind, parent_id)
        page = await ports.queries.list_operations(wanted, before=cursor, limit=limit)
        return {"operations": page.documents, "next_cursor": page.next_cursor}

    @router.get("/{operation_id}")
    async def show(operation_id: OperationId) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        document = await ports.queries.operation(operation_id)
        if document is None:
            return _not_found("operation", operation_id, "list the operations with `milepost ps`")
        return JSONResponse(document)

    return router


def _command(
    command: type[CancelOperation] | type[ResumeOperation], operation_id: str, fields: dict[str, Any]
) -> CancelOperation | ResumeOperation:
    """Build the command, with its faults told as those of the body."""
    try:
        return command.model_validate({**fields, "operation_id": operation_id})
    except ValidationError as error:
        raise RequestValidationError(
            [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]
        ) from error


def _response(verdict: Accepted | Duplicate | Rejected, *, created: bool) -> Response:
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


# --- checkpoints and health -----------------------------------------------------------------------


def _checkpoints(ports: HttpPorts) -> APIRouter:
    router = APIRouter(prefix="/checkpoints")

    @router.get("")
    async def list_checkpoints(  # pyright: ignore[reportUnusedFunction] - a route
        operation_id: OperationId | None = None,
        kind: Token | None = None,
        reason: CheckpointReason | None = None,
        status: CheckpointStatus | None = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> dict[str, Any]:
        wanted = CheckpointFilter(
            operation_id, kind, reason.value if reason else None, status.value if status else None
        )
        page = await ports.queries.list_checkpoints(wanted, before=cursor, limit=limit)
        return {"checkpoints": page.documents, "next_cursor": page.next_cursor}

    @router.get("/{checkpoint_id}")
    async def show(checkpoint_id: Token) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        document = await ports.queries.checkpoint(checkpoint_id)
        if document is None:
            return _not_found(
                "checkpoint", checkpoint_id, "list the checkpoints with `milepost checkpoints list`"
            )
        return JSONResponse(document)

    return router


def _health(ports: HttpPorts) -> APIRouter:
    router = APIRouter()

    @router.get("/workers")
    async def workers() -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - a route
        return {"workers": await ports.queries.workers()}

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


# --- around every request -------------------------------------------------------------------------


def _require(token: str | None) -> Callable[[Request], Awaitable[None]]:
    async def check(request: Request) -> None:
        if token is None or request.url.path in OPEN_PATHS:
            return
        given = request.headers.get("Authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})

    return check


async def _bounded_body(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    length = request.headers.get("Content-Length", "0")
    chunked = "Transfer-Encoding" in request.headers
    if chunked or not length.isdecimal() or int(length) > BODY_BYTES_MAX:
        return problem(
            413, "body-too-large", f"at most {BODY_BYTES_MAX} bytes, with Content-Length", "send less"
        )
    return await call_next(request)


async def _invalid_request(request: Request, error: Exception) -> Response:
    faults = cast("RequestValidationError", error).errors()
    problems = [
        Problem(
            field=".".join(str(part) for part in fault["loc"][1:]) or str(fault["loc"][0]),
            message=str(fault["msg"]).removeprefix("Value error, "),
        )
        for fault in faults
    ]
    words = "; ".join(f"{each.field}: {each.message}" for each in problems[:3])
    return problem(422, "invalid-command", words, "see /docs for what is expected", problems=problems)


async def _away(request: Request, error: Exception) -> Response:
    return problem(503, "unavailable", str(error), "try again in a moment; /readyz says what is away")


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = str(error.detail) if isinstance(error, HTTPException) else "unknown"
    code, fix = {
        401: ("unauthorized", "send the header Authorization: Bearer <MILEPOST_HTTP_TOKEN>"),
        404: ("not-found", "see /docs for what there is"),
        405: ("method-not-allowed", "see /docs for what there is"),
    }.get(status, (f"http-{status}", "see /docs for what is expected"))
    answer = problem(status, code, detail, fix)
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    return answer


def _not_found(noun: str, wanted: str, fix: str) -> Response:
    return problem(404, f"{noun}-not-found", f"there is no {noun} {wanted}", fix)
