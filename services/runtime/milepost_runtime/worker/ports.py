"""What the attempts of a worker work with."""

from dataclasses import dataclass

from milepost_contracts.checkpoints import CheckpointPolicySpec

from milepost_runtime.clock import Clock
from milepost_runtime.event_log import EventLog
from milepost_runtime.signals import Signals
from milepost_runtime.store.port import ArtifactStore
from milepost_runtime.worker.preparation import Preparation
from milepost_runtime.worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class AttemptPorts:
    """What an attempt works with; the same for all attempts of a worker."""

    event_log: EventLog
    signals: Signals
    store: ArtifactStore
    preparation: Preparation
    clock: Clock
    settings: WorkerSettings
    default_policy: CheckpointPolicySpec
