"""Drains as orchestrators have put them into the bucket of kinds, with the rest of the policy of dispatch."""

from milepost_contracts.dispatch import Drain

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import JetStream
from milepost_runtime.bus.topology import Topology
from milepost_runtime.bus.work_consumer import recorded_policy
from milepost_runtime.settings import BusSettings


class NatsDrains:
    """Implements ``Drains``; answered by the bucket's leader, so what was applied is seen."""

    def __init__(self, connection: BusConnection, settings: BusSettings) -> None:
        self._jetstream = JetStream(connection, timeout_seconds=settings.request_timeout_seconds)
        self._topology = Topology(settings)

    async def drain_of(self, worker_id: str) -> Drain | None:
        """Return why a worker takes nothing new; see the port."""
        return (await recorded_policy(self._jetstream, self._topology)).drained_workers.get(worker_id)
