"""What the bridge needs from the process around it; a port, so that engines and bridges run anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason

from milepost_runtime.bridge.cancellation import CancellationToken
from milepost_runtime.checkpoints.data import SaveData
from milepost_runtime.clock import Clock


class CheckpointSink(Protocol):
    """Takes progress and checkpoints away from the computing thread."""

    def progress(self, unit: int, metrics: Mapping[str, float]) -> None:
        """Report units done; cheap, may be dropped when a newer one follows."""
        ...

    def save(self, data: SaveData, reason: CheckpointReason) -> None:
        """Hand over a checkpoint; returns at once, a background thread writes it."""
        ...

    def busy(self) -> bool:
        """Say whether the last checkpoint is still being written: a periodic one is then left out."""
        ...

    def manual_requested(self) -> bool:
        """Say whether someone asked for a checkpoint now, once for each request."""
        ...


@dataclass(frozen=True, slots=True)
class BridgeHost:
    """Everything a bridge is made with."""

    sink: CheckpointSink
    token: CancellationToken
    policy: CheckpointPolicySpec
    clock: Clock
    total_units: int
    pace_units_per_second: float | None = None
