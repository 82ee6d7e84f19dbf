"""What goes wrong around the routes, as problem documents."""

from typing import cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from milepost_contracts.failures import Problem
from milepost_runtime.errors import ArchiveDamagedError, RuntimeServiceError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from milepost_orchestrator.entrypoints.http.problems import problem


def add_failure_handlers(app: FastAPI) -> None:
    """Let the application answer failures with problem documents."""
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(RuntimeServiceError, _away)
    app.add_exception_handler(HTTPException, _http_error)


async def _invalid_request(request: Request, error: Exception) -> Response:
    faults = cast("RequestValidationError", error).errors()
    problems = [
        Problem(
            field=_field(fault["loc"]),
            message=str(fault["msg"]).removeprefix("Value error, "),
        )
        for fault in faults
    ]
    words = "; ".join(f"{each.field}: {each.message}" for each in problems[:3])
    return problem(422, "invalid-command", words, "see /docs for what is expected", problems=problems)


def _field(location: tuple[str | int, ...]) -> str:
    """Return a fault's place as its sender wrote it: a parameter by name also when it was given several times."""
    where, *path = location
    shown = path[:1] if where == "query" else path
    return ".".join(str(part) for part in shown) or str(where)


async def _away(request: Request, error: Exception) -> Response:
    if isinstance(error, ArchiveDamagedError):
        return problem(
            503, "archive-damaged", str(error), "restore the bucket from its backup; see docs/replay.md"
        )
    return problem(503, "unavailable", str(error), "try again in a moment; /readyz says what is away")


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = str(error.detail) if isinstance(error, HTTPException) else "unknown"
    code, fix = {
        401: ("unauthorized", "send the header Authorization: Bearer <your token>"),
        403: ("forbidden", "ask an administrator for a token that may: `milepost tokens create --role`"),
        404: ("not-found", "see /docs for what there is"),
        405: ("method-not-allowed", "see /docs for what there is"),
    }.get(status, (f"http-{status}", "see /docs for what is expected"))
    answer = problem(status, code, detail, fix)
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    if status == 405:
        answer.headers["Allow"] = ", ".join(sorted(_methods_of(request)))
    return answer


def _methods_of(request: Request) -> set[str]:
    """Return what can be asked of the path; each route alone knows its own methods only."""
    application: FastAPI = request.app
    return {
        method
        for route in application.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
