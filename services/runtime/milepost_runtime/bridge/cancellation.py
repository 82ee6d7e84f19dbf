"""The cancellation token: set from anywhere, observed at unit boundaries.

States: clear -> requested (with a reason, at once or after a unit) -> observed by the bridge. Authority:
whoever asks first decides the reason; a later request can only make the stop come earlier. Failures: none; a
token is only memory, the request itself is in the log.
"""

import threading
from dataclasses import dataclass

from milepost_contracts.checkpoints import CheckpointReason


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Why to stop, and after which unit (None: after the one being worked on)."""

    reason: CheckpointReason
    at_unit: int | None = None
    words: str | None = None


class CancellationToken:
    """Thread-safe; one for each operation."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._request: StopRequest | None = None

    def request(self, request: StopRequest) -> None:
        """Ask for a stop; the earlier of two requests stands."""
        with self._condition:
            if self._request is None or _earlier(request, self._request):
                self._request = request
            self._condition.notify_all()

    @property
    def requested(self) -> StopRequest | None:
        """The request that stands."""
        return self._request

    def due(self, unit: int) -> StopRequest | None:
        """Return the request if the run must stop at the boundary after ``unit``."""
        request = self._request
        if request is None or (request.at_unit is not None and unit < request.at_unit):
            return None
        return request

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for a request or a change of it, at most this long; say whether one stands."""
        with self._condition:
            if self._request is None or self._request.at_unit is not None:
                self._condition.wait(timeout_seconds)
            return self._request is not None


def _earlier(new: StopRequest, old: StopRequest) -> bool:
    if old.at_unit is None:
        return False
    return new.at_unit is None or new.at_unit < old.at_unit
