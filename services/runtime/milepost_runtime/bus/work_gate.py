"""The gate on the work queue: kinds that are held, and how many of a kind are at workers at the same time.

The server keeps it: a held kind's consumer is paused, a limited one may have only so many unacknowledged
messages, one for each operation that a worker has. So no worker has to be told, none can claim past it, and it
outlives restarts of everything. Authority: the policy in the log; it lies in the bucket of kinds too, where a
worker that makes a consumer anew finds it. Failures: whatever was cut off half way is put right when it is applied
again, which orchestrators do all the time. Source: NATS ADR-42 (pause) and the consumer's ``max_ack_pending``.
"""

from milepost_contracts.dispatch import DispatchPolicy

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import CONSUMER_NOT_FOUND, JetStream, JsonMap
from milepost_runtime.bus.topology import Topology
from milepost_runtime.bus.work_consumer import ACK_PENDING_MAX, PAUSED_UNTIL, POLICY_KEY, pause_consumer
from milepost_runtime.errors import BusRefusedError
from milepost_runtime.settings import BusSettings

RELEASED = "0001-01-01T00:00:00Z"


class JetStreamWorkGate:
    """Implements ``WorkGate``."""

    def __init__(self, connection: BusConnection, settings: BusSettings) -> None:
        self._jetstream = JetStream(connection, timeout_seconds=settings.request_timeout_seconds)
        self._topology = Topology(settings)

    async def apply(self, policy: DispatchPolicy) -> None:
        """Make every kind's consumer as the policy says; see the port."""
        bucket = self._topology.kinds
        await self._jetstream.publish(
            f"$KV.{bucket}.{POLICY_KEY}",
            policy.model_dump_json().encode(),
            headers={"Nats-Expected-Stream": f"KV_{bucket}"},
        )
        for consumer in await self._consumers():
            await self._apply_to(consumer, policy)

    async def _consumers(self) -> list[JsonMap]:
        found: list[JsonMap] = []
        while True:
            answer = await self._jetstream.call(
                f"CONSUMER.LIST.{self._topology.work}", {"offset": len(found)}
            )
            page: list[JsonMap] = answer.get("consumers") or []
            found.extend(page)
            if not page or len(found) >= int(answer["total"]):
                return found

    async def _apply_to(self, consumer: JsonMap, policy: DispatchPolicy) -> None:
        config: JsonMap = consumer["config"]
        name = str(config["durable_name"])
        kind = self._topology.kind_of(name)
        if kind is None:
            return
        held = policy.hold_on(kind) is not None
        limit = policy.limits.get(kind, ACK_PENDING_MAX)
        try:
            if held and not consumer.get("paused"):
                await pause_consumer(self._jetstream, self._topology.work, name, PAUSED_UNTIL)
            if config["max_ack_pending"] != limit:
                await self._limit(name, config, limit)
            if not held and consumer.get("paused"):
                await pause_consumer(self._jetstream, self._topology.work, name, RELEASED)
                # Workers that wait already are not served by that alone (nats-server 2.15), but by a change.
                await self._limit(name, config, limit + 1)
                await self._limit(name, config, limit)
        except BusRefusedError as error:
            if error.error_code != CONSUMER_NOT_FOUND:  # whoever makes it anew finds the policy
                raise

    async def _limit(self, name: str, config: JsonMap, limit: int) -> None:
        stream = self._topology.work
        kept = {key: value for key, value in config.items() if key != "pause_until"}
        await self._jetstream.call(
            f"CONSUMER.CREATE.{stream}.{name}.{config['filter_subject']}",
            {"stream_name": stream, "config": {**kept, "max_ack_pending": limit}, "action": "update"},
        )
