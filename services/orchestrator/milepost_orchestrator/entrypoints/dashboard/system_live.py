"""The system page, live: the sections that are other than before, every few seconds."""

from collections.abc import AsyncIterator, Sequence

from milepost_orchestrator.application.live import LiveFeed
from milepost_orchestrator.application.live_reader import HEARTBEAT_SECONDS, Frame
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.system_reading import PAUSE_SECONDS, SystemReading

SECTIONS = ("state", "dispatch", "streams", "storage", "quarantine", "deeds")
"""Each has a template and an element of its own, and is replaced by itself."""


class SystemReader:
    """Implements ``FrameReader`` for one page."""

    def __init__(
        self, feed: LiveFeed, reading: SystemReading, renderer: Renderer, *, may_administer: bool
    ) -> None:
        self._feed = feed
        self._reading = reading
        self._renderer = renderer
        self._may_administer = may_administer
        self._sent: Sequence[bytes] = (b"",) * len(SECTIONS)

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield what has changed until the feed is closed."""
        quiet_seconds = 0.0
        while not self._feed.is_closed:
            sections = await self._sections()
            changed = [now for now, before in zip(sections, self._sent, strict=True) if now != before]
            self._sent = sections
            if changed:
                quiet_seconds = 0.0
                yield Frame("parts", b"".join(changed))
            elif quiet_seconds >= HEARTBEAT_SECONDS:
                quiet_seconds = 0.0
                yield Frame("heartbeat")
            quiet_seconds += PAUSE_SECONDS
            await self._feed.closed(timeout_seconds=PAUSE_SECONDS)

    async def _sections(self) -> list[bytes]:
        context = {**await self._reading.context(), "may_administer": self._may_administer}
        return [self._renderer.part(f"system_{name}.html", context) for name in SECTIONS]
