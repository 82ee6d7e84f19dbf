"""Waymarks: states folded up to some event, so that looking into the past need not begin at an operation's start.

A waymark is never a truth of its own. It says which event it was folded to; whoever goes on from it reads that
event again from the log first, and passes the waymark over when another one stands there. It is kept with a digest
of the code that folded it, and is nothing to any other code. All of them can be dropped at any moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from milepost_orchestrator.domain.operation import Operation

EVENTS_BETWEEN = 1_000
"""So many from one to the next."""
EVENTS_BETWEEN_MAX = 20_000
EVENTS_FOR_A_CHECKPOINT = 2
"""A state grows with its checkpoints: waymarks get rarer, so that together they grow no faster than the log."""


class Position(NamedTuple):
    """Where a waymark stands."""

    number: int
    """How many events of its operation are in it, readable or not."""
    sequence: int
    """Of the last of them."""
    latest_time: datetime
    """The latest time of any of them."""


@dataclass(frozen=True, slots=True)
class Waymark:
    """The state after an operation's first ``number`` events, all of which could be read."""

    operation_id: str
    number: int
    sequence: int
    event_id: str
    """Of the event at ``sequence``."""
    first_sequence: int
    """Of the operation's first event."""
    latest_time: datetime
    state: Operation
    state_bytes: int = 0
    """What the state takes as it is kept; 0 before it was."""

    @property
    def position(self) -> Position:
        """Where it stands."""
        return Position(self.number, self.sequence, self.latest_time)


class WaymarkStore(Protocol):
    """Keeps waymarks for a while. Every method raises ``DatabaseUnavailableError`` when the database is away."""

    async def positions(self, operation_id: str) -> Sequence[Position]:
        """Return where an operation's waymarks stand, the oldest first."""
        ...

    async def get(self, operation_id: str, number: int) -> Waymark | None:
        """Return one; None when it is not there any more."""
        ...

    async def put(self, waymarks: Sequence[Waymark]) -> None:
        """Keep some; those that are there are replaced."""
        ...


def events_to_first() -> int:
    """Return how many events come before an operation's first waymark."""
    return EVENTS_BETWEEN


def events_between(state: Operation) -> int:
    """Return how many events there are from a waymark of such a state to the next one."""
    wanted = EVENTS_FOR_A_CHECKPOINT * len(state.facts.checkpoints)
    return min(max(wanted, EVENTS_BETWEEN), EVENTS_BETWEEN_MAX)


def later(one: datetime | None, other: datetime) -> datetime:
    """Return the later of two times."""
    return other if one is None or other > one else one
