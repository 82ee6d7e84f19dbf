"""Open event streams: how many there may be, and how a frame is written.

States: a stream is open until its reader goes away or the feed is closed. Authority: the browser, which connects
again by itself and says where it was. Failures: what a page is made of cannot be read for the moment; the stream
ends, and the browser comes back a second later.
"""

from collections.abc import AsyncIterator
from typing import Annotated, TypeAlias

import structlog
from fastapi import Header, Response
from fastapi.responses import StreamingResponse
from milepost_runtime.errors import RuntimeServiceError

from milepost_orchestrator.application.live_reader import Frame, FrameReader
from milepost_orchestrator.entrypoints.http.problems import problem

log = structlog.get_logger()
READERS_MAX = 1000
RETRY_MILLISECONDS = 1000
"""How long a browser waits before it connects again."""
SEQUENCE_MAX = 2**63 - 1
LastEventId: TypeAlias = Annotated[
    int | None, Header(ge=0, le=SEQUENCE_MAX, description="Sent by a browser that comes back.")
]
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStreams:
    """Every event stream that is open at this orchestrator."""

    def __init__(self, *, readers_max: int = READERS_MAX) -> None:
        self._readers_max = readers_max
        self._open: set[FrameReader] = set()

    def respond(self, reader: FrameReader) -> Response:
        """Return a stream of the reader's frames, or a refusal when too many are open."""
        if len(self._open) >= self._readers_max:
            return problem(
                503, "too-many-readers", f"{self._readers_max} pages are open", "close some of them"
            )
        return StreamingResponse(self._content(reader), media_type="text/event-stream", headers=_HEADERS)

    async def _content(self, reader: FrameReader) -> AsyncIterator[bytes]:
        self._open.add(reader)
        try:
            yield b"retry: %d\n\n" % RETRY_MILLISECONDS
            async for frame in reader.frames():
                yield encoded(frame)
        except RuntimeServiceError as error:
            log.warning("a live page cannot be read", reason=str(error))
        finally:
            self._open.discard(reader)


def encoded(frame: Frame) -> bytes:
    """Return a frame as lines of an event stream (HTML Standard, 9.2); every line of its data is one too."""
    if frame.event == "heartbeat":
        return b": still here\n\n"
    number = b"" if frame.sequence is None else b"id: %d\n" % frame.sequence
    lines = b"".join(b"data: %b\n" % line for line in frame.data.splitlines())
    return b"%bevent: %b\n%b\n" % (number, frame.event.encode(), lines)
