"""How large a request may be."""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response

from milepost_orchestrator.entrypoints.http.problems import problem

BODY_BYTES_MAX = 1024 * 1024


async def bounded_body(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Middleware: refuse a body whose length is not known beforehand, or is too much."""
    length = request.headers.get("Content-Length", "0")
    chunked = "Transfer-Encoding" in request.headers
    if chunked or not length.isdecimal() or int(length) > BODY_BYTES_MAX:
        return problem(
            413, "body-too-large", f"at most {BODY_BYTES_MAX} bytes, with Content-Length", "send less"
        )
    return await call_next(request)
