"""Who is alive and what kinds of work exist: ports."""

from typing import Protocol

from milepost_contracts.fleet import WorkerHeartbeat
from milepost_contracts.kinds import KindDescription


class Fleet(Protocol):
    """Live workers; an entry vanishes when its worker stops beating for ``ttl_seconds``."""

    async def beat(self, heartbeat: WorkerHeartbeat) -> None:
        """Say that the worker lives."""
        ...

    async def leave(self, worker_id: str) -> None:
        """Take the worker out at once, on a clean stop."""
        ...

    async def workers(self) -> list[WorkerHeartbeat]:
        """Return the live workers, sorted by id."""
        ...


class KindCatalogue(Protocol):
    """Every kind of work that a worker has ever announced; entries stay."""

    async def announce(self, description: KindDescription) -> None:
        """Publish what specs of a kind must look like; the newest announcement counts."""
        ...

    async def describe(self, kind: str) -> KindDescription | None:
        """Return a kind's description, None when no worker has announced it."""
        ...

    async def kinds(self) -> list[KindDescription]:
        """Return all descriptions, sorted by kind."""
        ...
