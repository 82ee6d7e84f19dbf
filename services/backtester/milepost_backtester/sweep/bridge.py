"""The sweep's progress bridge: what one boundary between two combinations is made of, as a checkpoint."""

from collections.abc import Mapping
from typing import cast

from milepost_contracts.model import JsonObject
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.bridge.progress_bridge import ProgressBridge
from milepost_runtime.checkpoints.data import CheckpointData

from milepost_backtester.engine.records import State
from milepost_backtester.sweep.engine import SweepEngine
from milepost_backtester.sweep.segments import SweepSegments


class SweepProgressBridge(ProgressBridge[State]):
    """Saves the lengths of the tables as ``state.json`` and their new rows as segments.

    A stop is heard inside a unit too: the state of the boundary before it is saved, and the unit is done again.
    """

    def __init__(
        self,
        host: BridgeHost,
        engine: SweepEngine,
        *,
        fingerprint: Mapping[str, str],
        segments: SweepSegments,
    ) -> None:
        super().__init__(host)
        self._engine = engine
        self._fingerprint = dict(fingerprint)
        self._segments = segments

    def stop_asked(self) -> bool:
        """Say whether the run must stop at the boundary behind it; several threads ask."""
        return self._host.token.due(self.unit) is not None

    def stop_within(self) -> None:
        """Save the boundary before the unit that was left, and end there."""
        if not self._stop_if_due():
            raise RuntimeError("nobody asked for a stop")

    def build_checkpoint_data(self, unit: int, state: State) -> CheckpointData:
        """Return the state, the segments that are new and references to those that are stored."""
        plan = self._segments.plan(self._engine, state)
        return CheckpointData(
            unit=unit,
            state=cast("JsonObject", state),
            files=plan.files,
            kept=plan.kept,
            fingerprint=self._fingerprint,
            summary={"combinations_done": unit, "folds_done": self._engine.folds_done(unit)},
        )
