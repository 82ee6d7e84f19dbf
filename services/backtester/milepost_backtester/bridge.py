"""The backtest's progress bridge: what one unit boundary of the engine is made of, as a checkpoint."""

from collections.abc import Mapping
from typing import Any, cast

from milepost_contracts.model import JsonObject
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.bridge.progress_bridge import ProgressBridge
from milepost_runtime.checkpoints.data import CheckpointData

from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.records import State
from milepost_backtester.segments import SegmentedLogs


def log_lengths(state: Mapping[str, Any]) -> dict[str, int]:
    """Return the length of each log that belongs to a state of the engine."""
    return {"account": state["bar_index"], "fills": state["fills"], "trades": state["trades"]}


class BacktestingProgressBridge(ProgressBridge[State]):
    """Saves the engine's state as ``state.json`` and its logs as segments.

    The cached state is the engine's ``state_dict``: it holds the logs by their lengths only, and their rows up to
    there do not change any more, so caching costs the same at every bar.
    """

    report_seconds = 0.005

    def __init__(
        self,
        host: BridgeHost,
        engine: BacktestingEngine,
        *,
        fingerprint: Mapping[str, str],
        segments: SegmentedLogs | None = None,
    ) -> None:
        super().__init__(host)
        self._engine = engine
        self._fingerprint = dict(fingerprint)
        self._segments = segments or SegmentedLogs(engine.closes, borrows=engine.borrows)

    @property
    def state(self) -> State:
        """The cached state."""
        return self._state()[1]

    def stop_due(self, bar: int) -> bool:
        """Say whether the run must stop after so many bars, should that be made a boundary."""
        return self._host.token.due(bar) is not None

    def build_checkpoint_data(self, unit: int, state: State) -> CheckpointData:
        """Return the state, the segments that are new and references to those that are stored."""
        plan = self._segments.plan(self._engine.logs, log_lengths(state))
        return CheckpointData(
            unit=unit,
            state=cast("JsonObject", state),
            files=plan.files,
            kept=plan.kept,
            fingerprint=self._fingerprint,
            summary=self._summary(unit, state),
        )

    def _summary(self, unit: int, state: State) -> JsonObject:
        return {
            "bar": unit,
            "equity": self._engine.logs.equity.item(unit - 1) if unit else state["cash"],
            "cash": state["cash"],
            **self._positions(state),
            "fills": state["fills"],
            "trades": state["trades"],
            "orders_waiting": len(state["waiting"]),
        }

    def _positions(self, state: State) -> JsonObject:
        """The units of the one symbol, or those of each that is held."""
        names = self._engine.symbols
        if not names:
            return {"position": state["position"][0]}
        return {
            "positions": {name: units for name, units in zip(names, state["position"], strict=True) if units}
        }
