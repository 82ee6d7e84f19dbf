"""The stack as those who run it see it: streams with their consumers, what was set aside, and who did what.

Authority: the bus and the read models, each for its own; nothing is kept here. Failures: what cannot be read is
said by the one that asks for it, and hides nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from milepost_orchestrator.application.dispatching import Dispatching, about
from milepost_orchestrator.application.quarantine import Quarantine, Quarantined, Retried
from milepost_orchestrator.domain.dispatch import RecordedDispatch


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """One durable consumer of a stream."""

    name: str
    waiting: int
    """Messages that it was not given yet: its lag."""
    unacknowledged: int
    """Given out and not done."""
    redelivered: int
    is_paused: bool
    delivered_at: datetime | None
    kind: str | None = None
    """The kind whose work it gives out, if it does."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """One JetStream stream."""

    name: str
    messages: int
    size_bytes: int
    last_sequence: int
    last_at: datetime | None
    consumers: tuple[ConsumerState, ...] = ()


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was asked for, and by whom."""

    at: datetime
    what: str
    requested_by: str
    reason: str | None = None
    operation_id: str | None = None
    about: str | None = None
    """What it was about beside an operation: a kind, or a checkpoint."""


class BusState(Protocol):
    """Looks at the bus."""

    async def streams(self) -> Sequence[StreamState]:
        """Return the streams of this tenant with their durable consumers.

        Raises:
            BusUnavailableError, BusPermissionError: not known.
        """
        ...


class SystemRows(Protocol):
    """Reads what the read models know; raises ``DatabaseUnavailableError`` when they are away."""

    async def quarantined(self, limit: int) -> Sequence[Quarantined]:
        """Return the first events in quarantine, in the order of the log."""
        ...

    async def deeds(self, limit: int) -> Sequence[Deed]:
        """Return the newest events that someone asked for, newest first."""
        ...


class SystemView:
    """Everything that is about the stack and not about one operation."""

    def __init__(
        self, bus: BusState, rows: SystemRows, quarantine: Quarantine, dispatching: Dispatching
    ) -> None:
        self._bus = bus
        self._rows = rows
        self._quarantine = quarantine
        self._dispatching = dispatching

    async def streams(self) -> Sequence[StreamState]:
        """Return the streams; raises as ``BusState`` does."""
        return await self._bus.streams()

    async def quarantined(self, limit: int) -> Sequence[Quarantined]:
        """Return what was set aside; raises as ``SystemRows`` does."""
        return await self._rows.quarantined(limit)

    async def retry(self, operation_id: str | None) -> Sequence[Retried]:
        """Try what was set aside again, of one operation or of all; raises as ``Quarantine.retry`` does."""
        return await self._quarantine.retry(operation_id)

    async def deeds(self, limit: int) -> Sequence[Deed]:
        """Return who did what, newest first: to operations, to checkpoints and to dispatch.

        Raises:
            DatabaseUnavailableError, BusUnavailableError: one of the two halves is not known.
        """
        dispatched = [_dispatch_deed(each) for each in await self._dispatching.recorded()]
        found = [*await self._rows.deeds(limit), *dispatched]
        return sorted(found, key=lambda each: each.at, reverse=True)[:limit]


def _dispatch_deed(recorded: RecordedDispatch) -> Deed:
    event = recorded.event
    return Deed(
        at=recorded.time,
        what=f"dispatch {event.NAME}",
        requested_by=event.requested_by,
        reason=event.reason,
        about=about(event),
    )
