"""The way through one operation's past: where its waymarks stand, and where it ends at present.

States: nothing known -> begun at the newest waymark on record, or at the start -> at the end of the log, and from
then on only what is new is read. Authority: the log alone. Failures: another event where a waymark was folded to
means that the waymarks are of another log: they are passed over, and the way begins at the start.
"""

from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from milepost_runtime.event_log import EventLog, StoredEvent

from milepost_orchestrator.application.closing import closing_iterator
from milepost_orchestrator.application.folding import Folding, event_id_of, read_quickly
from milepost_orchestrator.application.waymarks import Position, Waymark, events_between


class WaymarkAmissError(Exception):
    """Another event stands where a waymark was folded to."""


class Road:
    """One operation, known up to some event."""

    def __init__(self, positions: Sequence[Position] = (), newest: Waymark | None = None) -> None:
        self.positions = list(positions)
        self.end = Folding(newest)
        self.made: list[Waymark] = []
        """That were due on the way and nobody has kept yet."""
        self.looked_at = float("-inf")
        """When the end of the log was looked up last, in monotonic seconds."""
        self._newest = newest

    async def go_on(self, event_log: EventLog, operation_id: str) -> None:
        """Fold what is new in the log.

        Raises:
            WaymarkAmissError: the waymark that it began at is of another log.
        """
        end, newest = self.end, self._newest
        stored = event_log.stored(operation_id, after_sequence=end.sequence - 1 if newest else end.sequence)
        async with closing_iterator(stored) as events:
            if newest is not None:
                await pass_over(newest, events)
                self._newest = None
            async for each in events:
                end.take(each)
                marked = self.positions[-1].number if self.positions else 0
                state = end.now.state
                if state is None or end.number - marked < events_between(state):
                    continue
                waymark = end.waymark()
                if waymark is not None:
                    self.made.append(waymark)
                    self.positions.append(waymark.position)

    def before_number(self, number: int) -> Sequence[Position]:
        """Return the waymarks before the event of that number."""
        return self.positions[: bisect_left(self.positions, number, key=lambda each: each.number)]

    def before_sequence(self, sequence: int) -> Sequence[Position]:
        """Return the waymarks before a sequence."""
        return self.positions[: bisect_left(self.positions, sequence, key=lambda each: each.sequence)]

    def up_to_time(self, time: datetime) -> Sequence[Position]:
        """Return the waymarks of which no event is later than a time."""
        return self.positions[: bisect_right(self.positions, time, key=lambda each: each.latest_time)]


async def pass_over(waymark: Waymark, events: AsyncIterator[StoredEvent]) -> None:
    """Read the event that a waymark was folded to, which must be the next.

    Raises:
        WaymarkAmissError: it is another one, or there is none.
    """
    found = await anext(events, None)
    if (
        found is None
        or found.sequence != waymark.sequence
        or event_id_of(read_quickly(found)) != waymark.event_id
    ):
        raise WaymarkAmissError(f"{waymark.operation_id}, sequence {waymark.sequence}")
