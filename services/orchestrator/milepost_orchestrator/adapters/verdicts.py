"""Publish verdicts for those who sent a command without waiting; they are kept for a day."""

from milepost_contracts.subjects import Subjects
from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import JetStream
from milepost_runtime.bus.topology import Topology
from milepost_runtime.settings import BusSettings

from milepost_orchestrator.application.answers import AnyAnswer


class VerdictPublisher:
    """Publishes into the VERDICTS JetStream stream."""

    def __init__(self, connection: BusConnection, settings: BusSettings) -> None:
        self._jetstream = JetStream(connection, timeout_seconds=settings.request_timeout_seconds)
        self._subjects = Subjects(settings.prefix)
        self._stream = Topology(settings).verdicts

    async def publish(self, verdict: AnyAnswer) -> None:
        """Publish one verdict under its command's id.

        Raises:
            BusUnavailableError: not stored, or not known whether; repeating is safe.
        """
        await self._jetstream.publish(
            self._subjects.verdict(verdict.command_id),
            verdict.model_dump_json().encode(),
            headers={"Nats-Expected-Stream": self._stream},
        )
