"""What the system page shows, read once for everyone who looks at it, each section apart from the others.

States of a section: read -> shown until it is read again; unknown while its source is away, with the reason.
Authority: bus, database and store, each for its own. Failures: one that is away leaves the other sections alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from milepost_contracts.dispatch import DispatchPolicy
from milepost_runtime.errors import RuntimeServiceError

from milepost_orchestrator.application.storage import AGES, OLDER, storage_document
from milepost_orchestrator.application.system_view import StreamState
from milepost_orchestrator.entrypoints.dashboard.payload_text import payload_text
from milepost_orchestrator.entrypoints.http.ports import HttpPorts

PAUSE_SECONDS = 2.0
STORAGE_PAUSE_SECONDS = 30.0
"""Its sums are over all checkpoints."""
PATIENCE_SECONDS = 5.0
QUARANTINED_MAX = 50
DEEDS_MAX = 50
AGE_NAMES = (*(name for name, _ in AGES), OLDER)


class SystemReading:
    """The newest of each section: no older than its pause when someone asks."""

    def __init__(self, ports: HttpPorts) -> None:
        self._ports = ports
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._storage_read_at = float("-inf")
        self._found: dict[str, Any] = {}
        self._unknown: dict[str, str] = {}

    def forget(self) -> None:
        """Read everything again when someone asks next: something was just changed."""
        self._read_at = self._storage_read_at = float("-inf")

    async def context(self) -> Mapping[str, Any]:
        """Return what the sections' templates need; ``unknown`` says which are not known, and why."""
        async with self._lock:
            now = self._ports.clock.monotonic_seconds()
            if now - self._read_at >= PAUSE_SECONDS:
                self._read_at = now
                await self._read(now)
            return {**self._found, "unknown": dict(self._unknown), "age_names": AGE_NAMES}

    async def _read(self, now: float) -> None:
        sources: dict[str, Callable[[], Awaitable[Any]]] = {
            "state": self._state,
            "streams": self._ports.system.streams,
            "policy": self._ports.dispatching.policy,
            "quarantined": self._quarantined,
            "deeds": self._deeds,
        }
        if now - self._storage_read_at >= STORAGE_PAUSE_SECONDS:
            self._storage_read_at = now
            sources["storage"] = self._storage
        await asyncio.gather(*(self._read_one(name, read) for name, read in sources.items()))
        streams: Sequence[StreamState] = self._found["streams"] or ()
        policy: DispatchPolicy = self._found["policy"] or DispatchPolicy()
        self._found["kinds"] = kinds_of(streams, policy)

    async def _read_one(self, name: str, read: Callable[[], Awaitable[Any]]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                self._found[name] = await read()
            self._unknown.pop(name, None)
        except RuntimeServiceError as error:
            self._found[name], self._unknown[name] = None, str(error)
        except TimeoutError:
            self._found[name], self._unknown[name] = None, f"no answer within {PATIENCE_SECONDS:g} s"

    async def _state(self) -> dict[str, Any]:
        found = await self._ports.readiness.check()
        position = self._ports.projector.position
        last = found.last_sequence
        behind = None if last is None else max(last - position, 0)
        down = {name: found.down.get(name) for name in ("bus", "database", "store")}
        return {"down": down, "position": position, "last_sequence": last, "behind": behind}

    async def _quarantined(self) -> list[dict[str, Any]]:
        found = await self._ports.system.quarantined(QUARANTINED_MAX)
        return [{**asdict(each), "payload": payload_text(each.payload)} for each in found]

    async def _deeds(self) -> Sequence[Any]:
        return await self._ports.system.deeds(DEEDS_MAX)

    async def _storage(self) -> dict[str, Any]:
        document = storage_document(await self._ports.storage.storage(self._ports.clock.now()))
        return {**document, "kinds": by_kind_and_age(document["checkpoints"]["by"])}


def by_kind_and_age(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, int]]]:
    """Return count and size of each kind's checkpoints, by age, and of all under ``all``."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for row in rows:
        ages = found.setdefault(
            row["kind"], {age: {"count": 0, "size_bytes": 0} for age in (*AGE_NAMES, "all")}
        )
        for age in (row["age"], "all"):
            ages[age]["count"] += row["count"]
            ages[age]["size_bytes"] += row["size_bytes"]
    return found


def kinds_of(streams: Sequence[StreamState], policy: DispatchPolicy) -> list[dict[str, Any]]:
    """Return how each kind's work is given out: those that have workers, and those that are held or limited."""
    consumers = {each.kind: each for stream in streams for each in stream.consumers if each.kind is not None}
    names = sorted({*consumers, *policy.held_kinds, *policy.limits})
    return [
        {
            "name": name,
            "consumer": consumers.get(name),
            "held": policy.held_kinds.get(name),
            "limit": policy.limits.get(name),
        }
        for name in names
    ]
