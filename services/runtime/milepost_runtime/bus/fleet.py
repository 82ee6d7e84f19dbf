"""The fleet and the kinds in JetStream buckets: see ``milepost_runtime.fleet``.

A bucket is a JetStream stream that keeps the newest message of each subject (NATS ADR-8). The fleet's messages
expire by the age limit of its stream, so a worker that stops beating vanishes without anybody's doing.
"""

from collections.abc import AsyncGenerator

from milepost_contracts.fleet import WorkerHeartbeat
from milepost_contracts.kinds import KindDescription

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import JetStream
from milepost_runtime.bus.pull import StreamReader
from milepost_runtime.bus.topology import Topology
from milepost_runtime.settings import BusSettings

BATCH_MESSAGES = 500


class _Bucket:
    """Documents by key."""

    def __init__(self, connection: BusConnection, settings: BusSettings, name: str) -> None:
        self._connection = connection
        self._timeout_seconds = settings.request_timeout_seconds
        self._jetstream = JetStream(connection, timeout_seconds=self._timeout_seconds)
        self._name = name

    async def put(self, key: str, document: bytes) -> None:
        await self._jetstream.publish(self._subject(key), document, headers=self._expected())

    async def delete(self, key: str) -> None:
        """Leave a mark instead of the document; readers pass over marks."""
        headers = {**self._expected(), "KV-Operation": "PURGE", "Nats-Rollup": "sub"}
        await self._jetstream.publish(self._subject(key), b"", headers=headers)

    async def get(self, key: str) -> bytes | None:
        async for document in self._read(self._subject(key)):
            return document
        return None

    async def values(self) -> list[bytes]:
        return [document async for document in self._read(self._subject("*"))]

    async def _read(self, subject_filter: str) -> AsyncGenerator[bytes]:
        reader = StreamReader(
            self._connection,
            f"KV_{self._name}",
            timeout_seconds=self._timeout_seconds,
            filters=[subject_filter],
            last_per_subject=True,
        )
        try:
            while batch := await reader.next_batch_to_end(BATCH_MESSAGES):
                for message in batch:
                    if "KV-Operation" not in message.headers:
                        yield message.data
        finally:
            await reader.close()

    def _subject(self, key: str) -> str:
        return f"$KV.{self._name}.{key}"

    def _expected(self) -> dict[str, str]:
        return {"Nats-Expected-Stream": f"KV_{self._name}"}


class NatsFleet:
    """Implements ``Fleet``."""

    def __init__(self, connection: BusConnection, settings: BusSettings) -> None:
        self._bucket = _Bucket(connection, settings, Topology(settings).fleet)

    async def beat(self, heartbeat: WorkerHeartbeat) -> None:
        """Say that the worker lives; see the port."""
        await self._bucket.put(heartbeat.worker_id, heartbeat.model_dump_json().encode())

    async def leave(self, worker_id: str) -> None:
        """Take the worker out at once; see the port."""
        await self._bucket.delete(worker_id)

    async def workers(self) -> list[WorkerHeartbeat]:
        """Return the live workers, sorted by id; see the port."""
        found = [WorkerHeartbeat.model_validate_json(document) for document in await self._bucket.values()]
        return sorted(found, key=lambda worker: worker.worker_id)


class NatsKindCatalogue:
    """Implements ``KindCatalogue``."""

    def __init__(self, connection: BusConnection, settings: BusSettings) -> None:
        self._bucket = _Bucket(connection, settings, Topology(settings).kinds)

    async def announce(self, description: KindDescription) -> None:
        """Publish what specs of a kind must look like; see the port."""
        await self._bucket.put(description.kind, description.model_dump_json().encode())

    async def describe(self, kind: str) -> KindDescription | None:
        """Return a kind's description; see the port."""
        document = await self._bucket.get(kind)
        return None if document is None else KindDescription.model_validate_json(document)

    async def kinds(self) -> list[KindDescription]:
        """Return all descriptions, sorted by kind; see the port."""
        found = [KindDescription.model_validate_json(document) for document in await self._bucket.values()]
        return sorted(found, key=lambda description: description.kind)
