"""The list, live: rows as they change, and the whole list when others belong in it or the counts differ."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog

from milepost_orchestrator.application.documents import row_in_short
from milepost_orchestrator.application.errors import DatabaseUnavailableError
from milepost_orchestrator.application.live import LiveBatch, RowVersion
from milepost_orchestrator.application.rows import OperationRow
from milepost_orchestrator.application.sparklines import Seen, Sparklines
from milepost_orchestrator.entrypoints.dashboard.columns import Column
from milepost_orchestrator.entrypoints.dashboard.parts_view import PartsView
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.shared_parts import Part, SharedParts

log = structlog.get_logger()
ListMaker: TypeAlias = Callable[[], Awaitable[Part]]


class OperationRows:
    """Rows of the list, each version of an operation made once for all pages with the same columns and rights."""

    def __init__(
        self, renderer: Renderer, sparklines: Sparklines, columns: Sequence[Column], *, may_act: bool
    ) -> None:
        self._renderer = renderer
        self._sparklines = sparklines
        self._columns = columns
        self._has_trend = any(column.name == "trend" for column in columns)
        self._may_act = may_act

    async def parts(self, versions: Sequence[RowVersion]) -> bytes:
        """Return rows as parts that replace those before."""
        if self._has_trend:
            await self._refresh(versions)
        return b"".join(version.made_by(self._make) for version in versions)

    async def _refresh(self, versions: Sequence[RowVersion]) -> None:
        try:
            await self._sparklines.refresh(_seen(version.row) for version in versions)
        except DatabaseUnavailableError as error:
            log.warning("sparklines stay as they are", reason=str(error))

    def _make(self, row: OperationRow) -> bytes:
        spark = self._sparklines.kept(row.operation_id) if self._has_trend else None
        return self._renderer.element(
            "operation_row", row_in_short(row), self._columns, spark, may_act=self._may_act, live=True
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
        return await self._rows.parts([newest[each] for each in shown]) or None

    async def again(self, sequence: int) -> bytes:
        """See ``LiveView``: the whole list."""
        part = await self._shared.get(self._address, sequence, self._make)
        self._in_sight = part.operation_ids
        return part.html


def _seen(row: OperationRow) -> Seen:
    """As the list that is read says it: the same version of an operation is the same."""
    version = (row.last_event_at.isoformat(), row.status, row.unit)
    return Seen(row.operation_id, version, row.ended_at is not None)
