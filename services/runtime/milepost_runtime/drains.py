"""Which workers take nothing new: a port."""

from typing import Protocol

from milepost_contracts.dispatch import Drain


class Drains(Protocol):
    """Looked at by workers, before each claim and with each heartbeat."""

    async def drain_of(self, worker_id: str) -> Drain | None:
        """Return why a worker takes nothing new, None when it may.

        Raises:
            BusUnavailableError: not known.
        """
        ...
