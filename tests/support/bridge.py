"""What a job's bridge talks to in tests: a clock by hand and a sink that writes real directories."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_runtime.bridge.cancellation import CancellationToken
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.checkpoints.data import CheckpointData, LoadedCheckpoint, SaveData
from milepost_runtime.checkpoints.spool import Spool


class ManualClock:
    """Goes on only when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic_seconds(self) -> float:
        return self.seconds


class SpoolSink:
    """Writes each checkpoint as the worker's child does, at once or when told to, and keeps every artifact."""

    def __init__(self, directory: Path, *, at_once: bool = True) -> None:
        self._directory = directory
        self._store = directory / "store"
        self._store.mkdir(parents=True, exist_ok=True)
        self._spool = Spool(directory / "spool")
        self._at_once = at_once
        self._held: list[tuple[SaveData, CheckpointReason]] = []
        self.saved: list[tuple[int, CheckpointReason]] = []
        self.checkpoints: list[LoadedCheckpoint] = []
        self.new_names: list[list[str]] = []
        self.reported: list[tuple[int, dict[str, float]]] = []
        self.on_progress: Callable[[int], None] = lambda unit: None
        self.manual_requests = 0

    def progress(self, unit: int, metrics: Mapping[str, float]) -> None:
        self.reported.append((unit, dict(metrics)))
        self.on_progress(unit)

    def save(self, data: SaveData, reason: CheckpointReason) -> None:
        self.saved.append((data.unit, reason))
        self._held.append((data, reason))
        if self._at_once:
            self.write()

    def write(self) -> None:
        """Write what was handed over."""
        for data, reason in self._held:
            self._write(data.complete(), reason)
        self._held.clear()

    def take_artifacts(self, other: "SpoolSink") -> None:
        """Have what another sink stored."""
        for path in other._store.iterdir():
            (self._store / path.name).write_bytes(path.read_bytes())

    def busy(self) -> bool:
        return False

    def manual_requested(self) -> bool:
        if not self.manual_requests:
            return False
        self.manual_requests -= 1
        return True

    def _write(self, data: CheckpointData, reason: CheckpointReason) -> None:
        name = f"{len(self.checkpoints) + 1:06d}"
        staged = self._spool.load(self._spool.stage("op-test", name, data, reason=reason, total_units=10**9))
        restored = self._directory / f"restored-{name}"
        restored.mkdir()
        for reference in staged.files:
            stored = self._store / reference.digest.removeprefix("sha256:")
            stored.write_bytes((staged.directory / reference.name).read_bytes())
        # A kept artifact that was never stored fails here, as it would in the store.
        artifacts = staged.files + staged.kept
        for reference in artifacts:
            content = (self._store / reference.digest.removeprefix("sha256:")).read_bytes()
            (restored / reference.name).write_bytes(content)
        for reference in staged.files:
            if reference.name in data.files:
                data.files[reference.name].stored(reference)
        self.new_names.append([reference.name for reference in staged.files])
        self.checkpoints.append(LoadedCheckpoint(data.unit, restored, artifacts, dict(data.fingerprint)))


def host_of(
    sink: SpoolSink,
    total_units: int,
    *,
    policy: CheckpointPolicySpec | None = None,
    token: CancellationToken | None = None,
    clock: ManualClock | None = None,
) -> BridgeHost:
    """Everything a bridge is made with."""
    return BridgeHost(
        sink=sink,
        token=token or CancellationToken(),
        policy=policy or CheckpointPolicySpec(),
        clock=clock or ManualClock(),
        total_units=total_units,
    )
