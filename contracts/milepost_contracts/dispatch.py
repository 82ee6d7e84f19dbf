"""Facts about dispatch: what is held back, how many of a kind run at once.

They are no operation's events and have a JetStream stream of their own; they are recorded and folded the same way.
"""

from typing import TypeAlias

from pydantic import AwareDatetime, Field

from milepost_contracts.ids import KindName, WorkerId
from milepost_contracts.model import ContractModel
from milepost_contracts.records import RequestedEvent

DISPATCH = "dispatch"
"""What commands about dispatch are about, where others name an operation."""


class _DispatchEvent(RequestedEvent):
    ABOUT = "dispatch"


class DispatchHeld(_DispatchEvent):
    """Nothing of the kind, or nothing at all, is given to workers until it is released; what runs goes on."""

    NAME = "held"
    kind: KindName | None = None
    """None for all kinds."""


class DispatchReleased(_DispatchEvent):
    """The hold is over."""

    NAME = "released"
    kind: KindName | None = None


class KindLimited(_DispatchEvent):
    """At most so many operations of the kind are at workers at the same time."""

    NAME = "limited"
    kind: KindName
    limit: int | None = Field(default=None, ge=1)
    """None for as many as there are slots."""
    before: int | None = None


class WorkerDrained(_DispatchEvent):
    """The worker takes nothing new until it is undrained."""

    NAME = "drained"
    worker_id: WorkerId
    release: bool = False
    """What it runs is given back with a checkpoint; else it goes on to its end."""


class WorkerUndrained(_DispatchEvent):
    """The worker takes work again."""

    NAME = "undrained"
    worker_id: WorkerId


DispatchEvent: TypeAlias = DispatchHeld | DispatchReleased | KindLimited | WorkerDrained | WorkerUndrained
DISPATCH_EVENTS: dict[str, type[DispatchEvent]] = {
    event.type_name(): event
    for event in (DispatchHeld, DispatchReleased, KindLimited, WorkerDrained, WorkerUndrained)
}
"""By CloudEvents type."""


class Hold(ContractModel):
    """Who holds, why, since when."""

    requested_by: str
    reason: str | None = None
    since: AwareDatetime

    def in_words(self) -> str:
        """Return who holds and why."""
        return f"held by {self.requested_by}" + (f": {self.reason}" if self.reason else "")


class Drain(Hold):
    """Who drains a worker, why, since when."""

    release: bool = False
    """What it runs is given back with a checkpoint."""

    def in_words(self) -> str:
        """Return who drains and why."""
        return f"drained by {self.requested_by}" + (f": {self.reason}" if self.reason else "")


class DispatchPolicy(ContractModel):
    """What holds now, folded from the events: what workers make their consumers by, and what people read."""

    held: Hold | None = None
    """Of all kinds."""
    held_kinds: dict[KindName, Hold] = {}
    limits: dict[KindName, int] = {}
    drained_workers: dict[WorkerId, Drain] = {}
    """Also those that are gone: one that comes back under the same id is drained still."""
    sequence: int = 0
    """Position of the last event folded."""

    def hold_on(self, kind: str) -> Hold | None:
        """Return the hold that keeps a kind from workers, None when there is none."""
        return self.held_kinds.get(kind) or self.held

    def held_words(self, kind: str) -> str | None:
        """Return what keeps a kind from workers, by whom and why; None when nothing does."""
        hold = self.hold_on(kind)
        if hold is None:
            return None
        return f"{f'kind {kind} is' if kind in self.held_kinds else 'all kinds are'} {hold.in_words()}"
