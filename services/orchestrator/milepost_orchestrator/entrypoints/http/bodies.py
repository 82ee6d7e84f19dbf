"""How large a request may be."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from milepost_orchestrator.entrypoints.http.problems import problem

BODY_BYTES_MAX = 1024 * 1024


class BoundedBody:
    """Middleware: refuses a body whose length is not known beforehand, or is too much."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see ASGI."""
        if scope["type"] == "http" and not _is_bounded(Headers(scope=scope)):
            words = f"at most {BODY_BYTES_MAX} bytes, with Content-Length"
            await problem(413, "body-too-large", words, "send less")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_bounded(headers: Headers) -> bool:
    length = headers.get("Content-Length", "0")
    return "Transfer-Encoding" not in headers and length.isdecimal() and int(length) <= BODY_BYTES_MAX
