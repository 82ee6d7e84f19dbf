"""What is known of an operation that should move: its worker's last sign of life, its last progress."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from milepost_contracts.events import Side
from milepost_runtime.clock import Clock
from milepost_runtime.event_log import EventLog

from milepost_orchestrator.application.sightings import Sightings
from milepost_orchestrator.application.waiting import Quiet
from milepost_orchestrator.domain.operation import Status

STALL_SECONDS = 600.0
ANY_KIND = "*"


class Attention:
    """Gathers what ``waiting_document`` judges by."""

    def __init__(
        self, event_log: EventLog, sightings: Sightings, clock: Clock, stall_seconds: Mapping[str, float]
    ) -> None:
        """``stall_seconds`` by kind; ``*`` is for the kinds that are not named."""
        self._event_log = event_log
        self._sightings = sightings
        self._clock = clock
        self._stall_seconds = stall_seconds

    async def quiet(self, operation: Mapping[str, Any]) -> Quiet:
        """Return what is known; the log is asked only about operations that somebody owns.

        Raises:
            BusUnavailableError: the log cannot be read.
        """
        owned = operation["worker_id"] is not None
        moving = owned and operation["status"] in (Status.RUNNING, Status.CANCELLING)
        moved_at = await self._event_log.last_time(operation["operation_id"], Side.RUN) if moving else None
        return replace(self.glance(operation), moved_at=moved_at)

    def glance(self, operation: Mapping[str, Any]) -> Quiet:
        """Return what is known without asking the log: not whether its worker has stalled."""
        owner = operation["worker_id"]
        return Quiet(
            now=self._clock.now(),
            owner_seen_at=self._sightings.last_seen(owner) if owner is not None else None,
            moved_at=None,
            stall_seconds=self.stall_seconds_of(operation["kind"]),
        )

    def stall_seconds_of(self, kind: str) -> float:
        """Return how long an operation of the kind may go without an event of its worker."""
        return self._stall_seconds.get(kind, self._stall_seconds.get(ANY_KIND, STALL_SECONDS))
