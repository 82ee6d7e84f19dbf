"""Drains in memory, changed by a test's hand."""

from milepost_contracts.dispatch import Drain


class MemoryDrains:
    """Implements ``Drains``."""

    def __init__(self) -> None:
        self.drains: dict[str, Drain] = {}

    async def drain_of(self, worker_id: str) -> Drain | None:
        """Return why a worker takes nothing new; see the port."""
        return self.drains.get(worker_id)
