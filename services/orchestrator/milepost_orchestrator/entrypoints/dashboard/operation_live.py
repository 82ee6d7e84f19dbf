"""One operation, live: its progress and its curves as they come, everything else when more happened."""

import json
from collections.abc import Awaitable, Callable, Sequence
from html import escape
from typing import Any

from milepost_orchestrator.application.documents import row_in_short
from milepost_orchestrator.application.live import LiveBatch
from milepost_orchestrator.application.rows import OperationRow
from milepost_orchestrator.entrypoints.dashboard.parts_view import PartsView
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.shared_parts import Part, SharedParts


class OperationProgress:
    """The part that changes with every unit, each version made once for all pages."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def make(self, row: OperationRow) -> bytes:
        """Return the part."""
        return self._renderer.element("operation_progress", row_in_short(row), live=True).encode()


class OperationView(PartsView):
    """Implements ``LiveView``: parts of one operation's page."""

    def __init__(
        self,
        operation_id: str,
        address: str,
        progress: OperationProgress,
        shared: SharedParts,
        make: Callable[[], Awaitable[Part]],
        *,
        is_always_whole: bool = False,
    ) -> None:
        self._operation_id = operation_id
        self._address = address
        self._progress = progress
        self._shared = shared
        self._make = make
        self._is_always_whole = is_always_whole
        """Whether progress, too, changes more than the progress that is shown."""

    async def changes(self, batches: Sequence[LiveBatch]) -> bytes | None:
        """See ``LiveView``."""
        own = [batch for batch in batches if self._operation_id in batch.versions]
        if not own:
            return None
        series = [each for batch in own for each in batch.series(self._operation_id)]
        if self._is_always_whole or any(self._operation_id in batch.told for batch in own):
            whole = await self.again(batches[-1].sequence)
            return whole + series_part(series) if series else whole
        return own[-1].versions[self._operation_id].made_by(self._progress.make) + series_part(series)

    async def again(self, sequence: int) -> bytes:
        """See ``LiveView``: everything but the curves, which the page reads again."""
        return (await self._shared.get(self._address, sequence, self._make)).html


def series_part(series: Sequence[dict[str, Any]]) -> bytes:
    """Return new points as an attribute; the page's script takes them from there."""
    data = escape(json.dumps(series, separators=(",", ":")))
    return f'<div id="series-news" hidden hx-swap-oob="true" data-series="{data}"></div>'.encode()
