"""One page's view of the live feed: frames of what it shows, the newest version of each, at most ten a second.

A reader that is slow to take a frame finds the next one made of the newest versions only; what it missed in
between is not kept for it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from milepost_runtime.clock import Clock

from milepost_orchestrator.application.fleet_view import FLEET_SECONDS, FleetView
from milepost_orchestrator.application.live import LiveBatch, LiveFeed, RowVersion

FRAME_SECONDS = 0.1
"""No more often: a person sees no difference, and what changes in between is sent once."""
HEARTBEAT_SECONDS = 10.0
AHEAD_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Interest:
    """What a page shows."""

    every_operation: bool = False
    operation_ids: frozenset[str] = frozenset()
    """Those in sight; of the others only how many have changed is told."""
    detail: str | None = None
    """The operation that is shown with all that happens to it."""
    fleet: bool = False

    @property
    def is_list(self) -> bool:
        """Whether operations are listed."""
        return self.every_operation or bool(self.operation_ids)


@dataclass(frozen=True, slots=True)
class Frame:
    """Something to send."""

    event: str
    """``changes``, ``fleet``, ``reread`` (read all that is shown again) or ``heartbeat`` (nothing happened)."""
    data: bytes = b"{}"
    sequence: int | None = None
    """Where a reader that comes back goes on from; None when it is not moved by this."""


class LiveView(Protocol):
    """How changes look to a page."""

    event: str
    """What frames of changes are called."""

    def begun(self, sequence: int) -> bytes:
        """Return the data of the first frame: what is shown is as of ``sequence``."""
        ...

    async def changes(self, batches: Sequence[LiveBatch]) -> bytes | None:
        """Return the data of a frame about these batches, None when nothing of them is shown."""
        ...

    async def again(self, sequence: int) -> bytes:
        """Return the data of a frame ``reread``: what came before ``sequence`` is not known any more."""
        ...

    def fleet(self, workers: bytes) -> bytes:
        """Return the data of a frame ``fleet``, made of the workers as JSON."""
        ...

    async def unprompted(self) -> bytes | None:
        """Return the data of a frame about what changes without an event, None when nothing did."""
        ...

    def patience_seconds(self) -> float:
        """Return how long to wait for events before it is asked again what changed without one."""
        ...


class JsonView:
    """Documents, as in the answers of the API."""

    event = "changes"

    def __init__(self, interest: Interest) -> None:
        self._interest = interest

    def begun(self, sequence: int) -> bytes:
        """See ``LiveView``."""
        return b'{"sequence":%d}' % sequence

    async def changes(self, batches: Sequence[LiveBatch]) -> bytes | None:
        """See ``LiveView``."""
        return changes_data(batches, self._interest)

    async def again(self, sequence: int) -> bytes:
        """See ``LiveView``; the page reads again by itself."""
        return self.begun(sequence)

    def fleet(self, workers: bytes) -> bytes:
        """See ``LiveView``."""
        return workers

    async def unprompted(self) -> bytes | None:
        """See ``LiveView``; clients ask."""
        return None

    def patience_seconds(self) -> float:
        """See ``LiveView``."""
        return HEARTBEAT_SECONDS


class FrameReader(Protocol):
    """Something that an event stream is made of."""

    def frames(self) -> AsyncIterator[Frame]:
        """Yield frames until there are no more."""
        ...


class LiveReader:
    """Makes the frames of one page."""

    def __init__(
        self,
        feed: LiveFeed,
        fleet: FleetView,
        interest: Interest,
        clock: Clock,
        *,
        after: int | None,
        view: LiveView | None = None,
    ) -> None:
        self._feed = feed
        self._fleet = fleet
        self._interest = interest
        self._view = view or JsonView(interest)
        self._clock = clock
        self._sequence = feed.position if after is None else after
        self._generation = feed.generation
        self._fleet_sent: bytes | None = None
        self._opened_at = clock.monotonic_seconds()

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield frames until the feed is closed; the first one says where the page is."""
        yield Frame(self._view.event, self._view.begun(self._sequence), self._sequence)
        sent_at = self._clock.monotonic_seconds()
        while not self._feed.is_closed:
            found = False
            for frame in (await self._changes(), await self._workers(), await self._unprompted()):
                if frame is not None:
                    found = True
                    yield frame
            now = self._clock.monotonic_seconds()
            if found:
                sent_at = now
            elif now - sent_at >= HEARTBEAT_SECONDS:
                sent_at = now
                yield Frame("heartbeat")
            await asyncio.sleep(FRAME_SECONDS)  # the pace is the point: no event says when to look again
            await self._feed.news(self._sequence, self._generation, timeout_seconds=self._patience_seconds())

    def _patience_seconds(self) -> float:
        patience = FLEET_SECONDS if self._interest.fleet else HEARTBEAT_SECONDS
        return min(patience, self._view.patience_seconds())

    async def _changes(self) -> Frame | None:
        if self._generation != self._feed.generation or self._is_ahead_for_good():
            return await self._reread()
        batches = self._feed.since(self._sequence)
        if batches is None:
            return await self._reread()
        if not batches:
            return None
        self._sequence = batches[-1].sequence
        data = await self._view.changes(batches)
        return None if data is None else Frame(self._view.event, data, batches[-1].sequence)

    def _is_ahead_for_good(self) -> bool:
        """Whether the page comes from a log that is gone: an orchestrator is behind another for a moment only."""
        ahead = self._sequence > self._feed.position
        return ahead and self._clock.monotonic_seconds() - self._opened_at >= AHEAD_SECONDS_MAX

    async def _reread(self) -> Frame:
        self._sequence, self._generation = self._feed.position, self._feed.generation
        return Frame("reread", await self._view.again(self._sequence), self._sequence)

    async def _unprompted(self) -> Frame | None:
        data = await self._view.unprompted()
        return None if data is None else Frame(self._view.event, data)

    async def _workers(self) -> Frame | None:
        if not self._interest.fleet:
            return None
        found = await self._fleet.json()
        if found is None or found is self._fleet_sent:
            return None
        self._fleet_sent = found
        return Frame("fleet", self._view.fleet(found))


def changes_data(batches: Sequence[LiveBatch], interest: Interest) -> bytes | None:
    """Return what of the batches is of interest, joined from what is rendered already; None when nothing is."""
    newest: dict[str, RowVersion] = {}
    for batch in batches:
        newest |= batch.versions
    details: list[bytes] = []
    wanted = interest.operation_ids
    if interest.detail is not None:
        wanted |= {interest.detail}
        found = (batch.detail(interest.detail) for batch in batches)
        details = [detail for detail in found if detail is not None]
    shown = newest if interest.every_operation else {key: newest[key] for key in wanted & newest.keys()}
    others = len(newest) - len(shown) if interest.is_list else 0
    if not shown and not others and not details:
        return None
    return b'{"sequence":%d,"operations":[%b],"others":%d,"details":[%b]}' % (
        batches[-1].sequence,
        b",".join(version.json for version in shown.values()),
        others,
        b",".join(details),
    )
