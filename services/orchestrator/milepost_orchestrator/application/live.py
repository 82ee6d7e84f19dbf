"""What changed a moment ago, for whoever looks: fed by the projector, read by any number of pages.

States: the feed holds the newest batches of changes; a reader is no more than the sequence it has seen. Authority:
the projector, after its batch is committed, by itself or by another orchestrator's projector: each of them goes
through the whole log, so nothing has to be passed between orchestrators, and a page that comes back to another one
goes on from the same sequence. Failures: a reader so slow that what it has not seen is held no more, or any reader
when the projection has begun anew, is told to read again; nobody is waited for and nothing piles up.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from milepost_orchestrator.application.documents import (
    checkpoint_documents,
    json_number,
    row_in_short,
    whole_row,
)
from milepost_orchestrator.application.projections import Changes
from milepost_orchestrator.application.rows import MetricRow, OperationRow

ENTRIES_MAX = 20_000
"""Events whose changes are held: twenty seconds at a thousand a second."""


RowMaker: TypeAlias = Callable[[OperationRow], bytes]
QUIET_EVENTS = frozenset(
    {
        "state-snapshot",
        "checkpoint-requested",
        "checkpoint-recorded",
        "checkpoint-refused",
        "checkpoint-pinned",
        "checkpoint-unpinned",
        "checkpoint-deleted",
    }
)
"""Events that, like progress, change neither which lists an operation is in nor its place there."""


class RowVersion:
    """An operation as it was at the end of a batch; rendered when someone wants it, and then once for all."""

    __slots__ = ("_made", "row")

    def __init__(self, row: OperationRow) -> None:
        self.row = row
        self._made: dict[RowMaker, bytes] = {}

    def made_by(self, make: RowMaker) -> bytes:
        """Return what ``make`` makes of the row; it is called once, for all who ask for the same."""
        found = self._made.get(make)
        if found is None:
            found = self._made[make] = make(self.row)
        return found

    @property
    def json(self) -> bytes:
        """The operation in short, as in a list."""
        return self.made_by(_row_json)


class LiveBatch:
    """The changes of one batch of events."""

    def __init__(self, changes: Changes) -> None:
        self.sequence = changes.last_sequence
        self.entries = changes.entries
        self.versions = {row.operation_id: RowVersion(row) for row in changes.operations}
        self.moves_lists = any(event.name not in QUIET_EVENTS for event in changes.events)
        """Whether lists and counts may have changed, beside the rows themselves."""
        self.told = frozenset(event.operation_id for event in changes.events)
        """Operations to which more happened than progress."""
        self._changes = changes
        self._details: dict[str, bytes] = {}

    def detail(self, operation_id: str) -> bytes | None:
        """Return what happened to one operation; None when nothing did."""
        if operation_id not in self.versions:
            return None
        if operation_id not in self._details:
            self._details[operation_id] = rendered(_detail(self._changes, operation_id))
        return self._details[operation_id]

    def series(self, operation_id: str) -> list[dict[str, Any]]:
        """Return the metrics of one operation, in columns."""
        return _series([row for row in self._changes.metrics if row.operation_id == operation_id])


class LiveFeed:
    """The newest batches. Not thread-safe: everything happens in one event loop."""

    def __init__(self, *, entries_max: int = ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._batches: deque[LiveBatch] = deque()
        self._entries = 0
        self._floor = 0
        self._news = asyncio.Event()
        self.position = 0
        """The last sequence that has come through."""
        self.generation = 0
        """Other than before when the projection has begun anew; sequences seen before mean nothing then."""
        self.is_closed = False
        self._closed = asyncio.Event()

    def changed(self, changes: Changes) -> None:
        """Take in a batch that is committed."""
        batch = LiveBatch(changes)
        self._batches.append(batch)
        self._entries += batch.entries
        self.position = batch.sequence
        while self._entries > self._entries_max and len(self._batches) > 1:
            dropped = self._batches.popleft()
            self._entries -= dropped.entries
            self._floor = dropped.sequence
        self._wake()

    def begun_anew(self, position: int) -> None:
        """Forget everything: what was projected up to ``position`` is not known here."""
        self._batches.clear()
        self._entries = 0
        self._floor = self.position = position
        self.generation += 1
        self._wake()

    def close(self) -> None:
        """Let every reader end."""
        self.is_closed = True
        self._closed.set()
        self._wake()

    async def closed(self, *, timeout_seconds: float) -> None:
        """Wait until it is closed, but not for ever."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._closed.wait()
        except TimeoutError:
            return

    def since(self, sequence: int) -> Sequence[LiveBatch] | None:
        """Return the batches after ``sequence``, None when some of them are held no more."""
        if sequence < self._floor:
            return None
        found: list[LiveBatch] = []
        for batch in reversed(self._batches):
            if batch.sequence <= sequence:
                break
            found.append(batch)
        return found[::-1]

    async def news(self, sequence: int, generation: int, *, timeout_seconds: float) -> None:
        """Wait until there is anything after ``sequence``, but not for ever."""
        if self.position > sequence or self.generation != generation or self.is_closed:
            return
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._news.wait()
        except TimeoutError:
            return

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def rendered(document: Mapping[str, Any]) -> bytes:
    """Return JSON on one line."""
    return json.dumps(document, separators=(",", ":")).encode()


def _row_json(row: OperationRow) -> bytes:
    return rendered(row_in_short(row))


def _detail(changes: Changes, operation_id: str) -> dict[str, Any]:
    def own(rows: Iterable[Any]) -> list[dict[str, Any]]:
        return [whole_row(row) for row in rows if row.operation_id == operation_id]

    return {
        "sequence": changes.last_sequence,
        "events": own(changes.events),
        "attempts": own(changes.attempts),
        "checkpoints": checkpoint_documents(own(changes.checkpoints), own(changes.artifacts)),
        "series": _series([row for row in changes.metrics if row.operation_id == operation_id]),
    }


def _series(rows: Sequence[MetricRow]) -> list[dict[str, Any]]:
    by_name: dict[str, list[MetricRow]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    return [
        {
            "name": name,
            "units": [row.unit for row in found],
            "values": [json_number(row.value) for row in found],
            "attempts": [row.attempt for row in found],
        }
        for name, found in sorted(by_name.items())
    ]
