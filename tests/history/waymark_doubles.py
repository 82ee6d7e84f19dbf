"""A log and waymarks in memory: as they are stored, readable or not."""

from collections.abc import AsyncGenerator, Sequence

from milepost_orchestrator.adapters.waymark_rows import WaymarkRow, waymark_of, waymark_row
from milepost_orchestrator.application.waymarks import Position, Waymark
from milepost_runtime.event_log import StoredEvent


class StoredLog:
    """What ``Past`` needs of an ``EventLog``, over a list that a test may change."""

    def __init__(self, events: Sequence[StoredEvent]) -> None:
        self.events = list(events)
        self.read = 0
        """How many events were handed out."""

    async def stored(self, operation_id: str, *, after_sequence: int = 0) -> AsyncGenerator[StoredEvent]:
        for event in self.events:
            if event.operation_id == operation_id and event.sequence > after_sequence:
                self.read += 1
                yield event


class MemoryWaymarks:
    """Implements ``WaymarkStore``, each waymark in the form in which Postgres holds it."""

    def __init__(self, waymarks: Sequence[Waymark] = ()) -> None:
        self.rows: dict[tuple[str, int], WaymarkRow] = {}
        self._take(waymarks)

    async def positions(self, operation_id: str) -> Sequence[Position]:
        found = (self.rows[key] for key in sorted(self.rows) if key[0] == operation_id)
        return [Position(row.number, row.sequence, row.latest_time) for row in found]

    async def get(self, operation_id: str, number: int) -> Waymark | None:
        row = self.rows.get((operation_id, number))
        return waymark_of(row) if row is not None else None

    async def put(self, waymarks: Sequence[Waymark]) -> None:
        self._take(waymarks)

    def _take(self, waymarks: Sequence[Waymark]) -> None:
        self.rows |= {(each.operation_id, each.number): waymark_row(each) for each in waymarks}
