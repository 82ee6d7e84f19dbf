"""Clocks that tests hold in their hands."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class FixedClock:
    """Implements ``Clock``; time stands still."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now

    def now(self) -> datetime:
        """Return the same time, always."""
        return self._now

    def monotonic_seconds(self) -> float:
        """Return 0, always."""
        return 0.0


class ManualClock:
    """Implements ``Clock``; time passes when the test says so."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self._seconds = 0.0
        self._listeners: set[Callable[[], None]] = set()

    def now(self) -> datetime:
        """Return the time that the test has come to."""
        return self._now

    def monotonic_seconds(self) -> float:
        """Return the seconds that the test has let pass."""
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Let time pass and tell whoever waits for it."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._now += timedelta(seconds=seconds)
        self._seconds += seconds
        for listener in list(self._listeners):
            listener()

    def on_advance(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever time has passed."""
        self._listeners.add(listener)
