"""What the HTTP entrance works with."""

from dataclasses import dataclass, field

from milepost_runtime.clock import Clock
from milepost_runtime.store.port import ArtifactStore

from milepost_orchestrator.adapters.readiness import ReadinessChecks
from milepost_orchestrator.application.commands import CommandHandler
from milepost_orchestrator.application.curves import Curves
from milepost_orchestrator.application.dispatching import Dispatching
from milepost_orchestrator.application.fleet_view import FleetView
from milepost_orchestrator.application.history import History
from milepost_orchestrator.application.live import LiveFeed
from milepost_orchestrator.application.orphans import OrphanSweep
from milepost_orchestrator.application.projector import Projector
from milepost_orchestrator.application.queries import Queries
from milepost_orchestrator.application.schedules import Schedules
from milepost_orchestrator.application.sparklines import Sparklines
from milepost_orchestrator.application.storage import StorageStatistics
from milepost_orchestrator.application.system_view import SystemView
from milepost_orchestrator.entrypoints.http.streams import EventStreams


@dataclass(frozen=True, slots=True)
class HttpPorts:
    """What the HTTP entrance works with."""

    handler: CommandHandler
    queries: Queries
    history: History
    readiness: ReadinessChecks
    projector: Projector
    live: LiveFeed
    fleet: FleetView
    dispatching: Dispatching
    schedules: Schedules
    clock: Clock
    curves: Curves
    sparklines: Sparklines
    store: ArtifactStore
    storage: StorageStatistics
    orphans: OrphanSweep
    system: SystemView
    streams: EventStreams = field(default_factory=EventStreams)
    """Those that are open, for the API and the dashboard together."""
