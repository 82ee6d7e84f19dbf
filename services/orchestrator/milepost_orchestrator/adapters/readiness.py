"""Is everything there that the orchestrator needs, and how far behind are the read models?"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from milepost_contracts.artifacts import ArtifactReference
from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import JetStream
from milepost_runtime.bus.topology import Topology
from milepost_runtime.errors import RuntimeServiceError
from milepost_runtime.settings import BusSettings
from milepost_runtime.store.port import ArtifactStore
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.database import database_errors

CHECK_SECONDS = 3.0
_PROBE = ArtifactReference(name="probe", digest="sha256:" + "0" * 64, size_bytes=0)


@dataclass(frozen=True, slots=True)
class Readiness:
    """What answers and what does not."""

    down: dict[str, str]
    """Why each thing that is down is down, by name: bus, database, store."""
    last_sequence: int | None
    """Newest event of the log; None when the bus does not say."""

    @property
    def ready(self) -> bool:
        """Whether commands can be handled."""
        return not self.down


class ReadinessChecks:
    """Asks bus, database and store, all at once and each within a bound."""

    def __init__(
        self, connection: BusConnection, settings: BusSettings, engine: AsyncEngine, store: ArtifactStore
    ) -> None:
        self._jetstream = JetStream(connection, timeout_seconds=CHECK_SECONDS)
        self._stream = Topology(settings).events
        self._engine = engine
        self._store = store

    async def check(self) -> Readiness:
        """Return what answers."""
        down: dict[str, str] = {}
        last_sequence: list[int] = []

        async def bus() -> None:
            answer = await self._jetstream.call(f"STREAM.INFO.{self._stream}", patience_seconds=CHECK_SECONDS)
            last_sequence.append(int(answer["state"]["last_seq"]))

        await asyncio.gather(
            _checked("bus", bus, down),
            _checked("database", self._database, down),
            _checked("store", self._artifact_store, down),
        )
        return Readiness(down, last_sequence[0] if last_sequence else None)

    async def _database(self) -> None:
        with database_errors("ask the database"):
            async with self._engine.connect() as connection:
                # Not there before the migrations have run: then it is not ready either.
                await connection.execute(text("SELECT sequence FROM projection_cursor"))

    async def _artifact_store(self) -> None:
        await asyncio.to_thread(self._store.exists, _PROBE)


async def _checked(name: str, check: Callable[[], Awaitable[None]], down: dict[str, str]) -> None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        down[name] = f"no answer within {CHECK_SECONDS:g} s"
    except RuntimeServiceError as error:
        down[name] = str(error)
