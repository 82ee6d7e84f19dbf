"""The list, live: rows as they change, and the whole list when others belong in it or the counts differ.

What an operation waits for hangs on the fleet and on what is held, of which no event of an operation tells: while
any that is shown has not ended, the list is read again now and then, once for all, and sent when that differs.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

import structlog

from milepost_orchestrator.application.documents import row_in_short
from milepost_orchestrator.application.errors import DatabaseUnavailableError
from milepost_orchestrator.application.live import LiveBatch, RowVersion
from milepost_orchestrator.application.live_reader import HEARTBEAT_SECONDS
from milepost_orchestrator.application.rows import OperationRow
from milepost_orchestrator.application.sparklines import Seen, Sparklines
from milepost_orchestrator.domain.operation import Status
from milepost_orchestrator.entrypoints.dashboard.columns import Column
from milepost_orchestrator.entrypoints.dashboard.parts_view import PartsView
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.dashboard.shared_parts import Part, SharedParts

log = structlog.get_logger()
LOOK_SECONDS = 4.0
PROMPT_SECONDS = 0.05
"""So long a list may take to be part of the same frame."""
_AGO = re.compile(r"\d+ (s|min|h) ago")
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
        self._refreshing: asyncio.Task[None] | None = None

    def parts(self, versions: Sequence[RowVersion]) -> Mapping[str, bytes]:
        """Return rows by operation, as parts that replace those before."""
        if self._has_trend and (self._refreshing is None or self._refreshing.done()):
            # No row waits for it: the next version has the line.
            self._refreshing = asyncio.create_task(self._refresh(versions))
        return {version.row.operation_id: version.made_by(self._make) for version in versions}

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

    def __init__(
        self,
        address: str,
        rows: OperationRows,
        shared: SharedParts,
        make: ListMaker,
        *,
        known: int = 0,
        owed: int | None = None,
    ) -> None:
        """``known``: the page has all up to it. ``owed``: one that comes back may lack the list as of this."""
        self._address = address
        self._rows = rows
        self._shared = shared
        self._make = make
        self._in_sight: frozenset[str] | None = None
        """None until the list was read once for this page."""
        self._known = known
        self._owed = owed
        """The list is to be read as of this sequence or later."""
        self._reading: tuple[int, asyncio.Task[Part]] | None = None
        self._may_wait = True
        self._waiting: dict[str, str] = {}
        self._sent: dict[str, tuple[int, bytes]] = {}
        """Rows as this page has them, where they were sent by themselves, and the sequence that they are as of."""

    async def changes(self, batches: Sequence[LiveBatch]) -> bytes | None:
        """See ``LiveView``: rows at once; a list that others may belong in follows as soon as it was read."""
        if self._in_sight is None:
            return await self.again(batches[-1].sequence)
        if any(batch.moves_lists for batch in batches):
            self._owed = batches[-1].sequence
        newest: dict[str, RowVersion] = {}
        for batch in batches:
            newest |= batch.versions
        shown = self._in_sight & newest.keys()
        if self._owed is not None:
            # A row by itself does not say what it waits for, which the list is about to say.
            waiting = self._waiting.keys() & shown
            shown -= {each for each in waiting if newest[each].row.status == Status.QUEUED}
        rows = self._rows.parts([newest[each] for each in shown])
        # What looks as before is not sent again, such as an event's time in a column that is not shown.
        changed = {
            key: row for key, row in rows.items() if key not in self._sent or self._sent[key][1] != row
        }
        self._sent |= {key: (batches[-1].sequence, row) for key, row in changed.items()}
        for each in changed:
            self._waiting.pop(each, None)
        return b"".join(changed.values()) or None

    async def again(self, sequence: int) -> bytes:
        """See ``LiveView``: the whole list."""
        self._known = 0  # it may be of another log
        self._owed = None
        if self._reading is not None:  # of before
            _, work = self._reading
            self._reading = None
            work.cancel()
        return self._taken(await self._shared.get(self._address, sequence, self._make))

    async def unprompted(self) -> bytes | None:
        """See ``LiveView``: the whole list that is owed, or of which something waits for something else."""
        if self._owed is not None:
            return await self._owed_list(self._owed)
        if not self._may_wait:
            return None
        try:
            part = await self._shared.no_older(self._address, LOOK_SECONDS, self._make)
        except DatabaseUnavailableError as error:
            log.warning("what is waited for stays as it was", reason=str(error))
            return None
        if part.sequence < self._known:
            return None  # kept from before the page was made
        self._may_wait = part.may_wait
        is_as_before = self._in_sight is not None and _said(part) == self._waiting
        return None if is_as_before else self._taken(part)

    def patience_seconds(self) -> float:
        """See ``LiveView``."""
        if self._owed is not None:
            return 0.0
        return LOOK_SECONDS if self._may_wait else HEARTBEAT_SECONDS

    async def _owed_list(self, sequence: int) -> bytes | None:
        """Return the list once it was read; until then rows go on being sent."""
        if self._reading is None:
            work = asyncio.create_task(self._shared.get(self._address, sequence, self._make))
            self._reading = sequence, work
        sequence, work = self._reading
        done, _ = await asyncio.wait({work}, timeout=PROMPT_SECONDS)
        if not done:
            return None
        self._reading = None
        if self._owed == sequence:
            self._owed = None
        return self._taken(work.result())

    def _taken(self, part: Part) -> bytes:
        """Return the list, and after it the rows that this page has newer than in the list."""
        self._in_sight, self._may_wait, self._waiting = part.operation_ids, part.may_wait, _said(part)
        self._sent = {
            key: (sequence, row)
            for key, (sequence, row) in self._sent.items()
            if sequence > part.sequence and key in part.operation_ids
        }
        newer = b"".join(row for _, row in self._sent.values())
        return part.html + (b"<template>%b</template>" % newer if newer else b"")


def _said(part: Part) -> dict[str, str]:
    """What is waited for, but not for how long already."""
    return {key: _AGO.sub("", words) for key, words in part.waiting.items()}


def _seen(row: OperationRow) -> Seen:
    """As the list that is read says it: the same version of an operation is the same."""
    version = (row.last_event_at.isoformat(), row.status, row.unit)
    return Seen(row.operation_id, version, row.ended_at is not None)
