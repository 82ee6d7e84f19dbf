"""Signals in memory."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from milepost_runtime.signals import Owner


@dataclass(eq=False)
class MemorySubscription:
    """Implements ``Subscription``."""

    owner: Owner
    wake: Callable[[], Awaitable[None]]
    listeners: "list[MemorySubscription]"

    async def close(self) -> None:
        """Stop listening; harmless when repeated."""
        if self in self.listeners:
            self.listeners.remove(self)


class MemorySignals:
    """Implements ``Signals``."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[MemorySubscription]] = {}

    async def notify(self, operation_id: str) -> None:
        """Tell the owner to look; see the port."""
        for subscription in list(self._listeners.get(operation_id, ())):
            await subscription.wake()

    async def ask_owner(self, operation_id: str, *, timeout_seconds: float) -> Owner | None:
        """Return who computes the operation, at once; see the port."""
        for subscription in self._listeners.get(operation_id, ()):
            return subscription.owner
        return None

    async def serve(
        self, owner: Owner, operation_id: str, wake: Callable[[], Awaitable[None]]
    ) -> MemorySubscription:
        """Answer for the operation; see the port."""
        listeners = self._listeners.setdefault(operation_id, [])
        subscription = MemorySubscription(owner, wake, listeners)
        listeners.append(subscription)
        return subscription
