"""The list, live: rows as they change, and the whole list when others belong in it or the counts differ."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from milepost_orchestrator.application.documents import row_in_short
from milepost_orchestrator.application.live import LiveBatch, RowVersion
from milepost_orchestrator.application.rows import OperationRow
from milepost_orchestrator.entrypoints.dashboard.parts_view import PartsView
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.shared_parts import Part, SharedParts

ListMaker: TypeAlias = Callable[[], Awaitable[Part]]


class OperationRows:
    """Rows of the list, each version of an operation made once for all pages where as much may be done."""

    def __init__(self, renderer: Renderer, *, may_act: bool) -> None:
        self._renderer = renderer
        self._may_act = may_act

    def part(self, version: RowVersion) -> bytes:
        """Return the row as a part that replaces the one before."""
        return version.made_by(self._make)

    def _make(self, row: OperationRow) -> bytes:
        return self._renderer.element(
            "operation_row", row_in_short(row), may_act=self._may_act, live=True
        ).encode()


class OperationsView(PartsView):
    """Implements ``LiveView``: parts of one page's list."""

    def __init__(self, address: str, rows: OperationRows, shared: SharedParts, make: ListMaker) -> None:
        self._address = address
        self._rows = rows
        self._shared = shared
        self._make = make
        self._in_sight: frozenset[str] | None = None
        """None until the list was read once for this page."""

    async def changes(self, batches: Sequence[LiveBatch]) -> bytes | None:
        """See ``LiveView``."""
        if self._in_sight is None or any(batch.moves_lists for batch in batches):
            return await self.again(batches[-1].sequence)
        newest: dict[str, RowVersion] = {}
        for batch in batches:
            newest |= batch.versions
        shown = self._in_sight & newest.keys()
        return b"".join(self._rows.part(newest[each]) for each in shown) or None

    async def again(self, sequence: int) -> bytes:
        """See ``LiveView``: the whole list."""
        part = await self._shared.get(self._address, sequence, self._make)
        self._in_sight = part.operation_ids
        return part.html
