"""The simulated servers: doubles that outlive every process, and how they are broken."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from milepost_contracts.envelope import Envelope
from milepost_orchestrator.application.answers import AnyAnswer
from milepost_orchestrator.application.orphans import OrphanReport, OrphanSweep
from milepost_orchestrator.application.reactor import REACTOR_EVENTS
from milepost_orchestrator.application.references import Needed
from milepost_orchestrator.application.registrar import REGISTRAR_EVENTS
from milepost_runtime.event_log import LogEntry
from milepost_runtime.store.directory import DirectoryArtifactStore
from milepost_runtime.store.port import StoredObject
from milepost_runtime.testing.work_queue import MemoryWorkQueue

from tests.orchestrator.workshop import Workshop
from tests.simulation.lines import Deliveries, Network
from tests.simulation.loop import SimulationClock, SimulationLoop
from tests.simulation.tally import Seen, Tally
from tests.support.memory_rows import Rows

LEASE_SECONDS = 10.0
ACK_SECONDS = 15.0
ORPHAN_GRACE = timedelta(days=1)


class DatedStore(DirectoryArtifactStore):
    """A store whose objects are dated by the simulated clock."""

    def __init__(self, root: Path, clock: SimulationClock) -> None:
        super().__init__(root, clock=clock)
        self._dates: dict[str, Any] = {}
        self._own_clock = clock

    def _write(self, key: str, chunks: Any) -> None:
        super()._write(key, chunks)
        self._dates[key] = self._own_clock.now()

    def list_objects(self, prefix: str):
        for each in super().list_objects(prefix):
            yield StoredObject(each.key, each.size_bytes, self._dates[each.key])


@dataclass
class Verdicts:
    """The verdicts that were published, by command."""

    tally: Tally
    by_command: dict[str, list[AnyAnswer]] = field(default_factory=dict[str, Any])

    async def publish(self, verdict: AnyAnswer) -> None:
        self.by_command.setdefault(verdict.command_id, []).append(verdict)
        self.tally.verdict(verdict)


class _NothingRecorded:
    async def needed(self) -> Needed:
        return Needed(frozenset(), frozenset(), frozenset())


class Servers:
    """Log, queues, signals, store and read models."""

    def __init__(self, directory: Path, loop: SimulationLoop, seed: int) -> None:
        self.network = Network(Random(seed))
        self.clock = SimulationClock(loop)
        self.base = Workshop(directory)
        self.base.clock = self.clock
        self.base.work_queue = MemoryWorkQueue(self.clock, lease_seconds=LEASE_SECONDS)
        self.base.store = DatedStore(directory / "dated", self.clock)
        self.rows = Rows()
        self.seen: Counter[Seen] = Counter()
        self._tally = Tally(self.seen)
        self.verdicts = Verdicts(self._tally)
        self.commands: Deliveries[Envelope] = Deliveries(ACK_SECONDS)
        self.reactor: Deliveries[LogEntry] = Deliveries(ACK_SECONDS)
        self.registrar: Deliveries[LogEntry] = Deliveries(ACK_SECONDS)
        self.uploading = 0
        """Artifacts that are in the store and not in the log yet: no night passes over them."""

    @property
    def entries(self) -> list[LogEntry]:
        return self.base.event_log.entries

    @contextmanager
    def upload(self) -> Iterator[None]:
        """Count something as in flight."""
        self.uploading += 1
        try:
            yield
        finally:
            self.uploading -= 1

    def deliver_new_events(self) -> None:
        """Hand every event to the durable consumers, once it is stored."""
        store = self.base.event_log._store

        def stored(envelope: Envelope) -> int:
            sequence = store(envelope)
            entry = self.entries[-1]
            self._tally.event(entry)
            if isinstance(entry.event, REACTOR_EVENTS):
                self.reactor.add(entry)
            if isinstance(entry.event, REGISTRAR_EVENTS):
                self.registrar.add(entry)
            return sequence

        self.base.event_log._store = stored

    async def sweep_orphans(self) -> OrphanReport:
        """Sweep what nothing refers to, as the janitor does."""
        sweep = OrphanSweep(
            self.base.store,
            self.base.event_log,
            _NothingRecorded(),
            tenant="simulated",
            grace_seconds=ORPHAN_GRACE.total_seconds(),
        )
        report = await sweep.sweep(dry_run=False)
        self.seen[Seen.ORPHAN_SWEPT] += report.removed.count
        return report
