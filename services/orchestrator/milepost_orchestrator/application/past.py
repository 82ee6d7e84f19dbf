"""Looking into the past of operations whose events are many: from the nearest waymark, not from the start.

States of an operation: unknown -> its road is known to the end of the log -> forgotten, when others were looked at
since. Authority: the log; see ``waymarks``. Failures: Postgres away costs time and nothing else; a waymark that is
gone or amiss is passed over, and the fold begins at an earlier one or at the start.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import structlog
from milepost_runtime.clock import Clock
from milepost_runtime.event_log import EventLog, StoredEvent

from milepost_orchestrator.application.closing import closing_iterator
from milepost_orchestrator.application.errors import DatabaseUnavailableError
from milepost_orchestrator.application.moments import Extent, Moment, moment_of
from milepost_orchestrator.application.replaying import PastState, state_as_of
from milepost_orchestrator.application.road import Road, WaymarkAmissError, pass_over
from milepost_orchestrator.application.waymarks import Position, Waymark, WaymarkStore

log = structlog.get_logger()
OPERATIONS_MAX = 64
"""Operations whose roads are known."""
FRESH_SECONDS = 5.0
"""Whoever scrubs does not have the log's end looked up at each step."""
STATE_BYTES_MAX = 64 * 1024 * 1024
"""Of waymarks held in memory, by what they take on record."""


class Past:
    """Moments and states of any operation at any event. Raises ``BusUnavailableError`` when the log is away."""

    def __init__(
        self,
        event_log: EventLog,
        store: WaymarkStore,
        clock: Clock,
        *,
        state_bytes_max: int = STATE_BYTES_MAX,
    ) -> None:
        self._clock = clock
        self._event_log = event_log
        self._store = store
        self._roads: OrderedDict[str, tuple[asyncio.Lock, Road | None]] = OrderedDict()
        self._states: OrderedDict[tuple[str, int], Waymark] = OrderedDict()
        self._state_bytes = 0
        self._state_bytes_max = state_bytes_max

    async def moment(
        self, operation_id: str, *, sequence: int | None = None, number: int | None = None
    ) -> Moment | None:
        """Return one event, the state after it and what it changed; see ``moments.moment_of``."""
        road = await self._road(operation_id, number or 0, sequence or 0)
        end = road.end
        if not end.number:
            return None
        extent = Extent(end.number, end.first_sequence, end.sequence)
        if sequence is None and number is None:
            number = end.number
        while True:
            found = road.before_number(number) if number is not None else road.before_sequence(sequence or 0)
            async with self._events(operation_id, found) as (begin, events):
                moment = await moment_of(events, sequence=sequence, number=number, begin=begin, extent=extent)
            if begin is None or (
                moment is not None and (sequence is None or moment.entry.sequence <= sequence)
            ):
                return moment
            sequence, number = begin.sequence, None  # nothing between the waymark and what is asked for

    async def state(
        self, operation_id: str, *, sequence: int | None = None, time: datetime | None = None
    ) -> PastState:
        """Return the state as of a sequence or a time; see ``replaying.state_as_of``."""
        road = await self._road(operation_id, 0, sequence or 0)
        found: Sequence[Position] = road.positions
        if sequence is not None:
            found = road.before_sequence(sequence + 1)
        elif time is not None:
            found = road.up_to_time(time)
        async with self._events(operation_id, found) as (begin, events):
            return await state_as_of(events, sequence=sequence, time=time, begin=begin)

    async def _road(self, operation_id: str, number: int, sequence: int) -> Road:
        """Return the road, known to the end of the log; a moment ago will do when what is asked for is on it."""
        lock, _ = self._roads.setdefault(operation_id, (asyncio.Lock(), None))
        async with lock:
            _, known = self._roads.get(operation_id, (lock, None))
            now = self._clock.monotonic_seconds()
            is_there = known is not None and (
                0 < number <= known.end.number or 0 < sequence <= known.end.sequence
            )
            if known is not None and is_there and now - known.looked_at < FRESH_SECONDS:
                return known
            road = known or await self._begun(operation_id)
            try:
                await road.go_on(self._event_log, operation_id)
            except WaymarkAmissError as error:
                log.warning("waymarks of another log", reason=str(error))
                road = Road()
                await road.go_on(self._event_log, operation_id)
            road.looked_at = now
            await self._keep(road)
            self._roads[operation_id] = (lock, road)
            self._roads.move_to_end(operation_id)
        while len(self._roads) > OPERATIONS_MAX:
            self._roads.popitem(last=False)
        return road

    async def _begun(self, operation_id: str) -> Road:
        try:
            positions = await self._store.positions(operation_id)
        except DatabaseUnavailableError as error:
            log.warning("waymarks cannot be read", reason=str(error))
            positions = ()
        newest = await self._get(operation_id, positions[-1].number) if positions else None
        return Road(positions, newest) if newest is not None else Road()

    async def _keep(self, road: Road) -> None:
        made, road.made = road.made, []
        if not made:
            return
        try:
            await self._store.put(made)
        except DatabaseUnavailableError as error:
            log.warning("waymarks cannot be kept", reason=str(error))

    @asynccontextmanager
    async def _events(
        self, operation_id: str, found: Sequence[Position]
    ) -> AsyncGenerator[tuple[Waymark | None, AsyncGenerator[StoredEvent]]]:
        """Yield the last of some waymarks that is good, None when none is, and the events after it."""
        for position in reversed(found):
            waymark = await self._get(operation_id, position.number)
            if waymark is None:  # the read models were rebuilt: there are others
                self._roads.pop(operation_id, None)
                continue
            stored = self._event_log.stored(operation_id, after_sequence=waymark.sequence - 1)
            async with closing_iterator(stored) as events:
                try:
                    await pass_over(waymark, events)
                except WaymarkAmissError as error:
                    log.warning("waymark of another log", reason=str(error))
                    continue
                yield waymark, events
                return
        async with closing_iterator(self._event_log.stored(operation_id)) as events:
            yield None, events

    async def _get(self, operation_id: str, number: int) -> Waymark | None:
        key = (operation_id, number)
        if key in self._states:
            self._states.move_to_end(key)
            return self._states[key]
        try:
            waymark = await self._store.get(operation_id, number)
        except DatabaseUnavailableError as error:
            log.warning("a waymark cannot be read", reason=str(error))
            return None
        if waymark is not None:
            self._remember(key, waymark)
        return waymark

    def _remember(self, key: tuple[str, int], waymark: Waymark) -> None:
        self._states[key] = waymark
        self._state_bytes += waymark.state_bytes
        while self._state_bytes > self._state_bytes_max and len(self._states) > 1:
            _, dropped = self._states.popitem(last=False)
            self._state_bytes -= dropped.state_bytes
