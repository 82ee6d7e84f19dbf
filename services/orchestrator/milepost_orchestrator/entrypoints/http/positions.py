"""How far what was read is projected, in a header of every answer: a live stream goes on from there."""

from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from milepost_orchestrator.application.projector import Projector

HEADER = "Milepost-Sequence"


class PositionHeader:
    """Middleware: says the sequence that the read models had reached before the request was answered."""

    def __init__(self, app: ASGIApp, *, projector: Projector) -> None:
        self._app = app
        self._projector = projector

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        position = self._projector.position

        async def send_with_position(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: MutableMapping[str, Any] = message
                MutableHeaders(scope=headers)[HEADER] = str(position)
            await send(message)

        await self._app(scope, receive, send_with_position)
