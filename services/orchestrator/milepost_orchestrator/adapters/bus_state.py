"""The state of a tenant's streams and consumers, as JetStream tells it."""

import asyncio
from datetime import datetime

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import JetStream, JsonMap
from milepost_runtime.bus.topology import Topology
from milepost_runtime.settings import BusSettings

from milepost_orchestrator.application.system_view import ConsumerState, StreamState

PATIENCE_SECONDS = 3.0
_NEVER = "0001-01-01"
"""Go's zero time: nothing has come yet."""


class JetStreamBusState:
    """Implements ``BusState``."""

    def __init__(self, connection: BusConnection, settings: BusSettings) -> None:
        self._jetstream = JetStream(connection, timeout_seconds=PATIENCE_SECONDS)
        self._topology = Topology(settings)

    async def streams(self) -> list[StreamState]:
        """Return the streams; see the port."""
        topology = self._topology
        names = (topology.events, topology.commands, topology.verdicts, topology.work, topology.dispatch)
        return list(await asyncio.gather(*(self._stream(name) for name in names)))

    async def _stream(self, name: str) -> StreamState:
        answer = await self._jetstream.call(f"STREAM.INFO.{name}", patience_seconds=PATIENCE_SECONDS)
        state: JsonMap = answer["state"]
        return StreamState(
            name=name,
            messages=int(state["messages"]),
            size_bytes=int(state["bytes"]),
            last_sequence=int(state["last_seq"]),
            last_at=_moment(state.get("last_ts")),
            consumers=await self._consumers(name),
        )

    async def _consumers(self, stream: str) -> tuple[ConsumerState, ...]:
        """Return the durable ones; those of readers that look on come and go."""
        found: list[JsonMap] = []
        while True:
            answer = await self._jetstream.call(
                f"CONSUMER.LIST.{stream}", {"offset": len(found)}, patience_seconds=PATIENCE_SECONDS
            )
            page: list[JsonMap] = answer.get("consumers") or []
            found.extend(page)
            if not page or len(found) >= int(answer["total"]):
                break
        durable = [each for each in found if each["config"].get("durable_name")]
        return tuple(sorted((self._consumer(stream, each) for each in durable), key=lambda each: each.name))

    def _consumer(self, stream: str, consumer: JsonMap) -> ConsumerState:
        name = str(consumer["name"])
        return ConsumerState(
            name=name,
            waiting=int(consumer.get("num_pending") or 0),
            unacknowledged=int(consumer.get("num_ack_pending") or 0),
            redelivered=int(consumer.get("num_redelivered") or 0),
            is_paused=bool(consumer.get("paused")),
            delivered_at=_moment(consumer.get("delivered", {}).get("last_active")),
            kind=self._topology.kind_of(name) if stream == self._topology.work else None,
        )


def _moment(text: str | None) -> datetime | None:
    return None if text is None or text.startswith(_NEVER) else datetime.fromisoformat(text)
