"""A clock that stands still, a sink that remembers, a bridge of the simplest kind."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_runtime.bridge.cancellation import CancellationToken, StopRequest
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.bridge.progress_bridge import ProgressBridge
from milepost_runtime.checkpoints.data import CheckpointData, SaveData

PERIODIC, MANUAL = CheckpointReason.PERIODIC, CheckpointReason.MANUAL
CANCELLATION, SHUTDOWN = CheckpointReason.CANCELLATION, CheckpointReason.SHUTDOWN
FAILURE = CheckpointReason.FAILURE


class ManualClock:
    """Goes on only when told to."""

    def __init__(self) -> None:
        self.seconds = 50.0

    def now(self) -> datetime:
        return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic_seconds(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class ClockToken(CancellationToken):
    """Waits on the manual clock; ``while_waiting`` is asked before each wait what happens during it."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock
        self.waits: list[float] = []
        self.while_waiting: Callable[[int], None] = lambda number: None

    def wait(self, timeout_seconds: float) -> bool:
        before = self.requested
        self.while_waiting(len(self.waits))
        self.waits.append(timeout_seconds)
        if self.requested is before:
            self._clock.advance(timeout_seconds)
        return self.requested is not None


class RecordingSink:
    """Remembers everything handed over."""

    def __init__(self) -> None:
        self.saved: list[tuple[int, CheckpointReason]] = []
        self.states: list[object] = []
        self.reported: list[tuple[int, dict[str, float]]] = []
        self.is_busy = False
        self.manual_requests = 0

    def progress(self, unit: int, metrics: Mapping[str, float]) -> None:
        self.reported.append((unit, dict(metrics)))

    def save(self, data: SaveData, reason: CheckpointReason) -> None:
        self.saved.append((data.unit, reason))
        self.states.append(data.state["value"])

    def busy(self) -> bool:
        return self.is_busy

    def manual_requested(self) -> bool:
        if not self.manual_requests:
            return False
        self.manual_requests -= 1
        return True


class CountingBridge(ProgressBridge[int]):
    """The state is one number."""

    def build_checkpoint_data(self, unit: int, state: int) -> CheckpointData:
        return CheckpointData(unit=unit, state={"value": state})


class Rig:
    """A bridge with everything around it, and an engine that sums up units."""

    def __init__(
        self,
        policy: CheckpointPolicySpec | None = None,
        *,
        total_units: int = 100,
        pace: float | None = None,
        seconds_per_unit: float = 0.0,
    ) -> None:
        self.clock = ManualClock()
        self.token = ClockToken(self.clock)
        self.sink = RecordingSink()
        self.total_units = total_units
        self.seconds_per_unit = seconds_per_unit
        self.boundaries: list[int] = []
        self.on_boundary: Callable[[int], None] = lambda unit: None
        self.on_unit: Callable[[int], None] = lambda unit: None
        self.bridge = CountingBridge(
            BridgeHost(
                sink=self.sink,
                token=self.token,
                policy=policy or CheckpointPolicySpec(),
                clock=self.clock,
                total_units=total_units,
                pace_units_per_second=pace,
            )
        )

    def stop(self, reason: CheckpointReason = CANCELLATION, at_unit: int | None = None) -> None:
        self.token.request(StopRequest(reason=reason, at_unit=at_unit))

    def run(self, unit: int = 0) -> bool:
        """Compute from ``unit``; True when all units are done. The state after unit n is n * 10."""
        with self.bridge as bridge:
            going_on = bridge.start(unit, unit * 10)
            while going_on and unit < self.total_units:
                boundary = bridge.next_boundary(unit)
                while unit < boundary:
                    unit += 1
                    self.on_unit(unit)
                    self.clock.advance(self.seconds_per_unit)
                self.boundaries.append(unit)
                self.on_boundary(unit)
                going_on = bridge.update_state(unit, unit * 10, {"sum": float(unit)})
            return going_on
