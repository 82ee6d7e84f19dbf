"""Signals to the worker that owns an operation: a port. Signals may be lost; the log is what counts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Owner:
    """Who says that it computes an operation right now."""

    worker_id: str
    attempt: int


class Subscription(Protocol):
    """Something that can be ended."""

    async def close(self) -> None:
        """Stop listening."""
        ...


class Signals(Protocol):
    """Core messages on ``P.signal.<operation_id>``; at most once, never stored."""

    async def notify(self, operation_id: str) -> None:
        """Tell the owner, if there is one, to look at its control events now."""
        ...

    async def ask_owner(self, operation_id: str, *, timeout_seconds: float) -> Owner | None:
        """Return who computes the operation, None when nobody answers in time."""
        ...

    async def serve(
        self, owner: Owner, operation_id: str, wake: Callable[[], Awaitable[None]]
    ) -> Subscription:
        """Answer ``ask_owner`` for the operation and call ``wake`` on every ``notify``."""
        ...
