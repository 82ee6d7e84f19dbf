"""The stack as those who run it see it: streams with their consumers, what was set aside, and who did what.

Authority: the bus and the read models, each for its own; nothing is kept here. Failures: what cannot be read is
said by the one that asks for it, and hides nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from milepost_contracts.upkeep import EventsRedelivered, OrphansSwept

from milepost_orchestrator.application.deeds import Deed, dispatch_deeds, schedule_deeds, upkeep_deed
from milepost_orchestrator.application.dispatching import Dispatching
from milepost_orchestrator.application.orphans import OrphanReport
from milepost_orchestrator.application.quarantine import Quarantine, Quarantined, Retried
from milepost_orchestrator.application.schedules import Schedules
from milepost_orchestrator.application.upkeep import Upkeep


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

    async def deeds(self, limit: int, until: datetime | None) -> Sequence[Deed]:
        """Return the newest events that someone asked for, newest first; with ``until`` only older ones."""
        ...


class SystemView:
    """Everything that is about the stack and not about one operation."""

    def __init__(
        self,
        bus: BusState,
        rows: SystemRows,
        quarantine: Quarantine,
        dispatching: Dispatching,
        schedules: Schedules,
        upkeep: Upkeep,
    ) -> None:
        self._bus = bus
        self._rows = rows
        self._quarantine = quarantine
        self._dispatching = dispatching
        self._schedules = schedules
        self._upkeep = upkeep

    async def streams(self) -> Sequence[StreamState]:
        """Return the streams; raises as ``BusState`` does."""
        return await self._bus.streams()

    async def quarantined(self, limit: int) -> Sequence[Quarantined]:
        """Return what was set aside; raises as ``SystemRows`` does."""
        return await self._rows.quarantined(limit)

    async def redeliver(self, operation_id: str | None, requested_by: str) -> Sequence[Retried]:
        """Try what was set aside again, of one operation or of all, and put on record who did.

        Raises:
            DatabaseUnavailableError, BusUnavailableError: broken off; repeating is safe.
        """
        return await redeliver(self._quarantine, self._upkeep, operation_id, requested_by)

    async def swept(self, report: OrphanReport, requested_by: str) -> None:
        """Put on record who removed orphans; raises as ``Upkeep.record`` does."""
        if not report.dry_run:
            removed = report.removed
            await self._upkeep.record(
                OrphansSwept(
                    requested_by=requested_by, removed=removed.count, removed_bytes=removed.size_bytes
                )
            )

    async def deeds(self, limit: int, until: datetime | None = None) -> Sequence[Deed]:
        """Return who did what, newest first: to operations, checkpoints, dispatch, schedules and the stack.

        Raises:
            DatabaseUnavailableError, BusUnavailableError: one of the two halves is not known.
        """
        recorded = [
            *dispatch_deeds(await self._dispatching.recorded()),
            *schedule_deeds(await self._schedules.recorded()),
            *(upkeep_deed(record, event) for record, event in await self._upkeep.recorded()),
        ]
        found = [each for each in recorded if until is None or each.at < until]
        found.extend(await self._rows.deeds(limit, until))
        return sorted(found, key=lambda each: each.at, reverse=True)[:limit]


async def redeliver(
    quarantine: Quarantine, upkeep: Upkeep, operation_id: str | None, requested_by: str
) -> Sequence[Retried]:
    """Try again what was set aside and put on record who did; raises as ``Quarantine.retry`` and ``Upkeep`` do."""
    retried = await quarantine.retry(operation_id)
    refused = sum(len(each.refused) for each in retried)
    await upkeep.record(
        EventsRedelivered(
            operation_id=operation_id,
            requested_by=requested_by,
            before=refused + sum(len(each.applied) for each in retried),
            after=refused,
        )
    )
    return retried
