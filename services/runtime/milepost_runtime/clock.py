"""Time and randomness: the only module that reads a clock or draws a random id.

Everything else takes a ``Clock`` or an id as an argument, so tests decide what time it is.
"""

import time
import uuid
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for durations."""

    def now(self) -> datetime:
        """Return the present, in UTC."""
        ...

    def monotonic_seconds(self) -> float:
        """Return seconds from an arbitrary start, never going back."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present, in UTC."""
        return datetime.now(UTC)

    def monotonic_seconds(self) -> float:
        """Return seconds from an arbitrary start, never going back."""
        return time.monotonic()


def random_id(prefix: str) -> str:
    """Return a fresh id such as ``cmd-5f0c...``; 122 random bits."""
    return f"{prefix}-{uuid.uuid4().hex}"
