"""How far a copy has come, so that its beginning can be written while the rest is still being copied.

States: at rest -> under way -> at rest (everything is there) or failed (at rest, and it stays where it came to).
Authority: one thread starts a copy, one carries it out; any other waits. Failures: whoever waits is told that no
more will come; why, the copying thread knows.
"""

import threading

WAIT_SECONDS_MAX = 600.0


class Frontier:
    """Of one file in memory, in bytes from its beginning."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._done_bytes = 0
        self._under_way = False

    def start(self) -> None:
        """Nothing is right any more; more will come."""
        with self._changed:
            self._done_bytes, self._under_way = 0, True

    def advance(self, done_bytes: int) -> None:
        """So many bytes are right now."""
        with self._changed:
            self._done_bytes = done_bytes
            self._changed.notify_all()

    def stop(self) -> None:
        """No more will come."""
        with self._changed:
            self._under_way = False
            self._changed.notify_all()

    def reaches(self, wanted_bytes: int) -> bool:
        """Wait until so many bytes are right; False when they never will be.

        Raises:
            TimeoutError: the copying thread does nothing.
        """
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._done_bytes >= wanted_bytes or not self._under_way, WAIT_SECONDS_MAX
            ):
                raise TimeoutError("a state was not copied; it cannot be written")
            return self._done_bytes >= wanted_bytes
