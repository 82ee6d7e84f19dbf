"""What the live views of all pages have in common: they send parts, and a new page has all of them."""

from collections.abc import Sequence

from milepost_orchestrator.application.live import LiveBatch
from milepost_orchestrator.application.live_reader import HEARTBEAT_SECONDS


class PartsView:
    """Implements ``LiveView`` for a page that shows nothing of what changes; pages override what they show."""

    event = "parts"

    def begun(self, sequence: int) -> bytes:
        """See ``LiveView``: the page has everything already."""
        return b""

    async def changes(self, batches: Sequence[LiveBatch]) -> bytes | None:
        """See ``LiveView``."""
        return None

    async def again(self, sequence: int) -> bytes:
        """See ``LiveView``."""
        return b""

    def fleet(self, workers: bytes) -> bytes:
        """See ``LiveView``."""
        return b""

    async def unprompted(self) -> bytes | None:
        """See ``LiveView``."""
        return None

    def patience_seconds(self) -> float:
        """See ``LiveView``."""
        return HEARTBEAT_SECONDS
