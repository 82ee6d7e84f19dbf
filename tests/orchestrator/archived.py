"""Archiving, and what is left in the log of what was archived."""

from datetime import timedelta

from milepost_contracts.events import Archived
from milepost_orchestrator.application.archiving import ArchiveReport
from milepost_orchestrator.projections_bootstrap import Projections
from milepost_runtime.bus.jetstream import JetStream
from milepost_runtime.bus.topology import Topology
from milepost_runtime.clock import SystemClock
from milepost_runtime.event_log import StoredEvent

from tests.orchestrator.running import Running


async def archive(projections: Projections, **options: object) -> ArchiveReport:
    """Archive whatever has ended by tomorrow."""
    return await projections.archive(SystemClock().now() + timedelta(days=1), requested_by="/test", **options)


async def stored(running: Running, operation_id: str) -> list[StoredEvent]:
    """An operation's events as the orchestrator reads them, ``archived`` left out."""
    found = running.orchestrator.history._event_log.stored(operation_id)
    return [each async for each in found if each.name != Archived.NAME]


async def messages(running: Running, operation_id: str) -> dict[str, int]:
    """What the JetStream stream itself holds of an operation: how many events by name."""
    bus = running.orchestrator.settings.bus
    jetstream = JetStream(running.orchestrator.connection, timeout_seconds=5)
    info = await jetstream.call(
        f"STREAM.INFO.{Topology(bus).events}", {"subjects_filter": f"{bus.prefix}.event.{operation_id}.>"}
    )
    subjects = info["state"].get("subjects") or {}
    return {subject.rpartition(".")[2]: count for subject, count in subjects.items()}


async def state_of(running: Running, operation_id: str) -> dict:
    """The state, without its position."""
    document = (await running.http.get(f"/operations/{operation_id}/state")).json()["state"]
    return {name: value for name, value in document.items() if name != "sequence"}
