"""Whether a worker may take work, as it was looked up last.

States: takes work -> drained -> takes work. Authority: the policy of dispatch on the bus; a worker looks before
each claim and with each heartbeat. Failures: while the bus is away it stays as it was; there is nothing to claim.
"""

import asyncio

import structlog
from milepost_contracts.dispatch import Drain

from milepost_runtime.drains import Drains
from milepost_runtime.errors import BusUnavailableError

log = structlog.get_logger()


class DrainWatch:
    """One worker's own drain."""

    def __init__(self, drains: Drains, worker_id: str) -> None:
        self._drains = drains
        self._worker_id = worker_id
        self._drained, self._takes = asyncio.Event(), asyncio.Event()
        self._takes.set()
        self.drain: Drain | None = None
        """Why it takes nothing new; None when it takes work."""

    @property
    def releases(self) -> bool:
        """Whether what it runs is to be given back."""
        return self.drain is not None and self.drain.release

    @property
    def words(self) -> str:
        """Why what it runs is given back."""
        return "worker shut down" if self.drain is None else f"worker {self.drain.in_words()}"

    async def look(self) -> bool:
        """Look again; say whether it is other than before."""
        try:
            found = await self._drains.drain_of(self._worker_id)
        except BusUnavailableError as error:
            log.warning("bus away", reason=str(error))
            return False
        if found == self.drain:
            return False
        self.drain = found
        if found is None:
            log.info("not drained any more")
            self._drained.clear()
            self._takes.set()
        else:
            log.info("drained", requested_by=found.requested_by, reason=found.reason, release=found.release)
            self._takes.clear()
            self._drained.set()
        return True

    async def drained(self) -> None:
        """Wait until it takes nothing new."""
        await self._drained.wait()

    async def takes(self) -> None:
        """Wait until it takes work."""
        await self._takes.wait()
