"""An orchestrator's application over doubles: no server, no loop of its own."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.commands import (
    CancelOperation,
    Command,
    ForkOperation,
    ResumeOperation,
    RetryOperation,
    StartOperation,
)
from milepost_contracts.datasets import Dataset
from milepost_contracts.dispatch import DispatchPolicy
from milepost_contracts.events import Event
from milepost_contracts.kinds import KindDescription
from milepost_contracts.messages import envelop_event
from milepost_orchestrator.application.alarms import Alarms
from milepost_orchestrator.application.answers import Answer, Sender
from milepost_orchestrator.application.commands import CommandHandler
from milepost_orchestrator.application.dispatching import Dispatching
from milepost_orchestrator.application.effects import Appender, Effects
from milepost_orchestrator.application.model_pinning import ModelPinning
from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.application.parking import Admission
from milepost_orchestrator.application.reactor import Reactor
from milepost_orchestrator.application.registrar import Registrar
from milepost_orchestrator.application.schedules import Schedules
from milepost_orchestrator.application.specs import SpecResolver
from milepost_orchestrator.application.timekeeper import Timekeeper
from milepost_orchestrator.application.trained_models import TrainedModels
from milepost_orchestrator.domain.operation import Operation
from milepost_runtime.checkpoints.service import CheckpointService
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.clock import random_id
from milepost_runtime.event_log import LogEntry
from milepost_runtime.store.directory import DirectoryArtifactStore
from milepost_runtime.testing.clock import ManualClock
from milepost_runtime.testing.event_log import MemoryEventLog
from milepost_runtime.testing.fleet import MemoryFleet, MemoryKindCatalogue
from milepost_runtime.testing.kill_points import KillPoints
from milepost_runtime.testing.record_log import MemoryRecordLog
from milepost_runtime.testing.signals import MemorySignals
from milepost_runtime.testing.work_queue import MemoryWorkQueue
from milepost_runtime.work_queue import WorkKey

from tests.orchestrator.stories import EPOCH, STATE, artifact

COUNTER = KindDescription(
    kind="counter",
    unit_name="step",
    spec_schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["units"],
        "properties": {"units": {"type": "integer"}, "seconds": {"type": "number", "default": 0.5}},
    },
    changeable={"seconds": ("seconds",)},
)


def dataset(name: str = "aapl", content: bytes = b"bars") -> Dataset:
    return Dataset(
        name=name,
        artifact=artifact(content, f"{name}.parquet"),
        rows=10,
        first=EPOCH,
        last=EPOCH,
        added_at=EPOCH,
    )


@dataclass
class MemoryDatasets:
    """Implements ``Datasets``."""

    entries: dict[str, Dataset] = field(default_factory=dict)

    def get(self, name: str) -> Dataset | None:
        return self.entries.get(name)

    def by_digest(self, digest: str) -> Dataset | None:
        return next((each for each in self.entries.values() if each.artifact.digest == digest), None)

    def list(self) -> list[Dataset]:
        return [self.entries[name] for name in sorted(self.entries)]


@dataclass
class MemoryOperationIds:
    """Implements ``OperationIds`` over the log."""

    event_log: MemoryEventLog

    async def ids_beginning(self, beginning: str, *, limit: int) -> list[str]:
        ids = {entry.operation_id for entry in self.event_log.entries}
        return sorted(each for each in ids if each.startswith(beginning))[:limit]


@dataclass
class MemoryWorkGate:
    """Implements ``WorkGate``; keeps what was applied."""

    policy: DispatchPolicy | None = None
    applied: asyncio.Event = field(default_factory=asyncio.Event)

    async def apply(self, policy: DispatchPolicy) -> None:
        self.policy = policy
        self.applied.set()


@dataclass
class MemoryCandidates:
    """Implements ``CleanupCandidates``: every operation, which costs a look each."""

    event_log: MemoryEventLog

    async def operations_to_clean(
        self, rules: object, *, after_id: str, limit: int, **_: object
    ) -> list[str]:
        ids = {entry.operation_id for entry in self.event_log.entries}
        wanted = getattr(rules, "operation_id", None)
        return sorted(each for each in ids if each > after_id and wanted in (None, each))[:limit]


class Workshop:
    """Everything composed, with its doubles at hand."""

    def __init__(
        self,
        directory: Path,
        event_log: MemoryEventLog | None = None,
        *,
        over: "Workshop | None" = None,
        points: KillPoints | None = None,
        name: str = "o-1",
    ) -> None:
        """Compose an orchestrator; ``over`` another one's doubles, and dying at ``points`` of its calls."""
        self.event_log = event_log or (over.event_log if over else MemoryEventLog())
        self.clock = over.clock if over else ManualClock(EPOCH)
        self.work_queue = over.work_queue if over else MemoryWorkQueue(self.clock)
        self.signals = over.signals if over else MemorySignals()
        self.fleet = over.fleet if over else MemoryFleet(self.clock)
        self.kinds = over.kinds if over else MemoryKindCatalogue()
        self.datasets = over.datasets if over else MemoryDatasets({"aapl": dataset()})
        self.store = over.store if over else DirectoryArtifactStore(directory / "store")
        self.records = over.records if over else MemoryRecordLog()
        self.gate = over.gate if over else MemoryWorkGate()
        self.fleet = over.fleet if over else MemoryFleet(self.clock)
        self.directory = directory
        self._compose(points or KillPoints(), f"/orchestrator/{name}")

    def _compose(self, points: KillPoints, source: str) -> None:
        event_log, store = points.guard(self.event_log), points.guard(self.store)
        records = points.guard(self.records)
        self.operations = Operations(event_log)
        self.appender = Appender(event_log, self.clock, source)
        self.alarms = Alarms(self.clock)
        self.effects = Effects(
            self.operations,
            self.appender,
            points.guard(self.work_queue),
            points.guard(self.signals),
            store,
            self.alarms,
            Admission(self.fleet),
        )
        models = TrainedModels(self.operations, MemoryOperationIds(self.event_log), store)
        self.specs = SpecResolver(points.guard(self.kinds), points.guard(self.datasets), ModelPinning(models))
        self.dispatching = Dispatching(
            records, points.guard(self.gate), points.guard(self.fleet), self.clock, source
        )
        self.timers = Alarms(self.clock)
        self.schedules = Schedules(records, self.specs, self.clock, self.timers, source)
        self.handler = CommandHandler(
            self.operations,
            self.appender,
            self.effects,
            self.specs,
            store,
            self.dispatching,
            self.schedules,
            points.guard(MemoryCandidates(self.event_log)),
        )
        self.timekeeper = Timekeeper(self.schedules, self.handler, self.clock)
        self.reactor = Reactor(self.effects)
        self.registrar = Registrar(
            self.operations, self.appender, CheckpointService(store, Spool(self.directory / "spool"))
        )

    async def open(self) -> "Workshop":
        await self.kinds.announce(COUNTER)
        return self

    def keep_state(self, content: bytes = STATE) -> None:
        """Put the artifact of ``stories.snapshot`` into the store."""
        path = self.directory / "state.json"
        path.write_bytes(content)
        self.store.put_file(path, name="state.json", media_type="application/json")

    def keep(self, content: bytes, name: str) -> ArtifactReference:
        """Put an artifact into the store."""
        path = self.directory / name
        path.write_bytes(content)
        return self.store.put_file(path, name=name, media_type="application/json")

    async def send(self, command: Command, command_id: str | None = None) -> Answer:
        return await self.handler.handle(command, Sender(command_id or random_id("cmd"), "/test"))

    async def start(self, command_id: str | None = None, **fields: object) -> Answer:
        values = {"kind": "counter", "spec": {"units": 100}, **fields}
        return await self.send(StartOperation.model_validate(values), command_id)

    async def cancel(self, operation_id: str, command_id: str | None = None, **fields: object) -> Answer:
        command = CancelOperation.model_validate({"operation_id": operation_id, **fields})
        return await self.send(command, command_id)

    async def resume(self, operation_id: str, command_id: str | None = None, **fields: object) -> Answer:
        command = ResumeOperation.model_validate({"operation_id": operation_id, **fields})
        return await self.send(command, command_id)

    async def fork(self, operation_id: str, command_id: str | None = None, **fields: object) -> Answer:
        values = {"operation_id": operation_id, "changes": {"seconds": 2.0}, **fields}
        return await self.send(ForkOperation.model_validate(values), command_id)

    async def retry(self, operation_id: str, command_id: str | None = None, **fields: object) -> Answer:
        command = RetryOperation.model_validate({"operation_id": operation_id, **fields})
        return await self.send(command, command_id)

    async def happen(self, operation_id: str, *events: Event) -> LogEntry:
        """Append events as a worker would; return the last."""
        for event in events:
            envelope = envelop_event(
                event,
                event_id=random_id("ev"),
                operation_id=operation_id,
                source="/worker/w-1",
                time=EPOCH,
            )
            last = await self.event_log.last_sequence(operation_id, event.SIDE)
            await self.event_log.append(envelope, type(event), expected_sequence=last)
        return self.event_log.entries[-1]

    async def state(self, operation_id: str) -> Operation:
        state = await self.operations.load(operation_id)
        assert state is not None
        return state

    async def has_work(self, operation_id: str) -> bool:
        return await self.work_queue.contains(WorkKey("counter", "default", operation_id))

    def events(self, operation_id: str, *types: type[Event]) -> list[Event]:
        found = [entry.event for entry in self.event_log.entries if entry.operation_id == operation_id]
        return [event for event in found if not types or isinstance(event, types)]
