"""The work queue as its users see it: a port, with one conformance suite for every adapter.

States of an operation's work message: absent -> waiting -> leased by a worker -> waiting again (given back, or
the lease ran out) -> absent (acked after the terminal event). Authority: there is at most one message for
each operation (the subject holds its id and the stream keeps one message per subject), so dispatching twice is
harmless; what was never given out waits by priority, then age; only a worker that has seen the terminal event in
the log may ack. Failures: a lease that is not renewed in time lets JetStream deliver the message to another
worker, which then claims the next attempt.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WorkKey:
    """Which work: one operation of a kind in a queue."""

    kind: str
    queue: str
    operation_id: str


class WorkItem(Protocol):
    """One delivered work message; the lease runs from its delivery."""

    @property
    def key(self) -> WorkKey:
        """Which work it is."""
        ...

    @property
    def deliveries(self) -> int:
        """How often it was delivered, this time included."""
        ...

    async def renew(self) -> None:
        """Start the lease anew."""
        ...

    async def done(self) -> None:
        """Remove the work for good; only once the terminal event is in the log.

        Raises:
            BusUnavailableError: not heard; the work comes again after its lease, to whomever.
        """
        ...

    async def give_back(self, *, delay_seconds: float = 0.0) -> None:
        """End the lease now, so that another worker gets the work after the delay.

        Raises:
            BusUnavailableError: not heard; it ends by itself.
        """
        ...


class WorkQueue(Protocol):
    """Give out work, one message for each unfinished operation."""

    async def dispatch(self, key: WorkKey, *, priority: int = 0) -> bool:
        """Put work in, unless it is there already; say whether it was put in now.

        It goes before all that waits with a lower priority and was never given out.
        """
        ...

    async def prioritize(self, key: WorkKey, priority: int) -> None:
        """Give work another place among what waits; nothing for what was given out before, or is not there."""
        ...

    async def contains(self, key: WorkKey) -> bool:
        """Say whether the work is waiting or leased."""
        ...

    async def remove(self, key: WorkKey) -> None:
        """Remove the work of an operation that ended without an owner; no error when it is gone."""
        ...

    async def fetch(self, kind: str, *, timeout_seconds: float) -> WorkItem | None:
        """Return exactly one piece of work, None when there is none within the time."""
        ...
