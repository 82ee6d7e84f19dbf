"""The progress bridge: between a pure engine and everything that makes its work durable.

The engine does units and reports at boundaries; the bridge owns checkpoints, cancellation and pace. A run is::

    with MyBridge(host) as bridge:
        going_on = bridge.start(unit, engine.copy_of_state())
        while going_on and unit < total:
            unit = engine.advance_to(bridge.next_boundary(unit))
            going_on = bridge.update_state(unit, engine.copy_of_state(), metrics)

States: made -> started (a state is cached) -> stopped (a stop was due, its checkpoint handed over) or done.
Authority: the cached state is the newest whole unit and what any checkpoint is built from. At one boundary, in
this order: a manual checkpoint, a due stop (which ends the run), a periodic checkpoint. Failures: an exception
inside the ``with`` block saves the cached state with reason ``failure`` and goes on up. Only periodic checkpoints
are ever left out (while the sink is busy); they are made up for at a later boundary. Where boundaries lie
depends on the clock, so an engine's result must not depend on them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeVar

from milepost_contracts.checkpoints import CheckpointReason

from milepost_runtime.bridge.cancellation import StopRequest
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.bridge.pace import REPORT_SECONDS, ChunkSize, Pace
from milepost_runtime.checkpoints.data import SaveData
from milepost_runtime.checkpoints.policy import CheckpointPolicy, PolicyContext

StateT = TypeVar("StateT")

WAIT_SLICE_SECONDS = 0.25
"""While pacing, a manual request is looked for this often; a stop ends the wait at once."""


class ProgressBridge(ABC, Generic[StateT]):
    """One for each run. Used by the computing thread only; the token and the sink face the other threads."""

    report_seconds: ClassVar[float] = REPORT_SECONDS
    """Work between two boundaries; as short as a boundary is cheap, for a stop waits for one."""

    def __init__(self, host: BridgeHost) -> None:
        self._host = host
        self._policy = CheckpointPolicy(host.policy)
        self._chunk = ChunkSize(host.clock, host.pace_units_per_second, self.report_seconds)
        self._pace: Pace | None = None
        self._cached: tuple[int, StateT] | None = None
        self._started_seconds = 0.0
        self._last_saved_unit = 0
        self._last_saved_seconds: float | None = None
        self._failure_saved_unit: int | None = None
        self._stopped: StopRequest | None = None

    @abstractmethod
    def build_checkpoint_data(self, unit: int, state: StateT) -> SaveData:
        """Return everything needed to go on after ``unit``: the one worker-specific part.

        Called in the computing thread; what the file writers hold must not change any more.
        """

    def build_last_checkpoint_data(self, unit: int, state: StateT) -> SaveData:
        """Return the same for a run that ends at this boundary: what it holds may be the engine's own."""
        return self.build_checkpoint_data(unit, state)

    def can_save_periodic(self) -> bool:
        """Say whether there is room for a periodic checkpoint; else it is left out and made up for later."""
        return not self._host.sink.busy()

    @property
    def unit(self) -> int:
        """The unit of the cached state."""
        return self._state()[0]

    @property
    def stopped(self) -> StopRequest | None:
        """Why the run was told to stop; None while it was not."""
        return self._stopped

    def start(self, unit: int, state: StateT) -> bool:
        """Cache the state before the first unit; False when a stop is due already (it is then saved).

        ``unit`` is 0, or the unit of the checkpoint that the run goes on from.
        """
        if self._cached is not None:
            raise RuntimeError("a bridge is started once")
        self._check_unit(unit, least=0)
        self._cached = (unit, state)
        self._last_saved_unit = unit
        self._started_seconds = self._host.clock.monotonic_seconds()
        if self._host.pace_units_per_second is not None:
            self._pace = Pace(self._host.clock, self._host.pace_units_per_second, unit)
        self._save_manual()
        going_on = not self._stop_if_due()
        self._chunk.begin(unit)
        return going_on

    def update_state(self, unit: int, state: StateT, metrics: Mapping[str, float] | None = None) -> bool:
        """Take over the state after ``unit``; False when the run must end here.

        ``state`` is a copy that nobody changes any more.
        """
        self._check_unit(unit, least=self._state()[0] + 1)
        self._cached = (unit, state)
        self._chunk.finish(unit)
        self._host.sink.progress(unit, metrics or {})
        self._save_manual()
        if self._stop_if_due():
            return False
        self._save_periodic()
        self._keep_pace()
        going_on = not self._stop_if_due()
        self._chunk.begin(unit)
        return going_on

    def next_boundary(self, unit: int) -> int:
        """Return the next unit after which the engine must report, at most the last one."""
        ends = [self._host.total_units, unit + self._chunk.units]
        policy_unit = self._policy.next_unit_due(unit)
        if policy_unit is not None:
            ends.append(policy_unit)
        request = self._host.token.requested
        if request is not None:
            ends.append(max(unit + 1, request.at_unit or 0))
        return min(ends)

    def fall_back(self, unit: int, state: StateT) -> None:
        """Cache the state that a job which fails went back to, of the last boundary or a unit after it.

        Nothing else happens at this boundary; leaving the ``with`` block with the error saves the state.
        """
        self._check_unit(unit, least=0)
        self._cached = (unit, state)

    def save_failure(self) -> None:
        """Save the state of the last whole unit because the job failed; nothing to save before ``start``."""
        if self._cached is None or self._failure_saved_unit == self._cached[0]:
            return
        self._failure_saved_unit = self._cached[0]
        self._save(CheckpointReason.FAILURE, last=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception | SystemExit):
            return
        try:
            self.save_failure()
        # The first error is the one to report; it must not be hidden by one of saving.
        except Exception as second:  # noqa: BLE001
            error.add_note(f"and the failure checkpoint could not be saved: {second}")

    def _save_manual(self) -> None:
        if self._host.sink.manual_requested():
            self._save(CheckpointReason.MANUAL)

    def _stop_if_due(self) -> bool:
        unit = self._state()[0]
        # A stop at the last boundary comes too late: the operation completes.
        request = None if unit >= self._host.total_units else self._host.token.due(unit)
        if request is None:
            return False
        self._save(request.reason, last=True)
        self._stopped = request
        return True

    def _save_periodic(self) -> None:
        if self._state()[0] == self._last_saved_unit:
            return
        context = PolicyContext(
            unit=self._state()[0],
            total_units=self._host.total_units,
            last_saved_unit=self._last_saved_unit,
            now_seconds=self._host.clock.monotonic_seconds(),
            started_seconds=self._started_seconds,
            last_saved_seconds=self._last_saved_seconds,
        )
        if self._policy.should_checkpoint(context) and self.can_save_periodic():
            self._save(CheckpointReason.PERIODIC)

    def _save(self, reason: CheckpointReason, *, last: bool = False) -> None:
        unit, state = self._state()
        build = self.build_last_checkpoint_data if last else self.build_checkpoint_data
        self._host.sink.save(build(unit, state), reason)
        self._last_saved_unit = unit
        self._last_saved_seconds = self._host.clock.monotonic_seconds()

    def _keep_pace(self) -> None:
        unit = self._state()[0]
        if self._pace is None or unit >= self._host.total_units:
            return
        while (delay := self._pace.delay_seconds(unit)) > 0 and self._host.token.due(unit) is None:
            self._host.token.wait(min(delay, WAIT_SLICE_SECONDS))
            self._save_manual()

    def _state(self) -> tuple[int, StateT]:
        if self._cached is None:
            raise RuntimeError("start() comes first")
        return self._cached

    def _check_unit(self, unit: int, *, least: int) -> None:
        if not least <= unit <= self._host.total_units:
            raise ValueError(f"unit {unit} is not between {least} and {self._host.total_units}")
