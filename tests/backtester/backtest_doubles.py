"""What the backtester tests share: generated bars, small strategies, a sink that writes real directories."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from milepost_backtester.engine.backtesting_engine import BacktestingEngine
from milepost_backtester.engine.bars import Bars
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_contracts.model import ContractModel
from milepost_runtime.bridge.cancellation import CancellationToken
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.checkpoints.data import CheckpointData, LoadedCheckpoint
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.digests import canonical_json, digest_of_bytes

MINUTE = 60 * 10**9


def make_bars(count: int, seed: int = 1, *, step: float = 0.5) -> Bars:
    """A random walk in cents, one bar a minute."""
    generator = np.random.default_rng(seed)
    closes = np.round(100 + np.abs(np.cumsum(generator.normal(0, step, count))), 2)
    opens = np.round(np.concatenate(([closes[0]], closes[:-1])) + generator.normal(0, 0.05, count), 2)
    highs = np.round(np.maximum(opens, closes) + generator.uniform(0, 0.3, count), 2)
    lows = np.round(np.minimum(opens, closes) - generator.uniform(0, 0.3, count), 2)
    times = np.arange(count, dtype=np.int64) * MINUTE + 1_700_000_000 * 10**9
    return Bars(times, opens, highs, lows, closes, np.full(count, 1000.0))


def bars_of(*rows: tuple[float, float, float, float]) -> Bars:
    """Bars written by hand as open, high, low, close."""
    columns = np.array(rows, dtype=np.float64).T.copy()
    times = np.arange(len(rows), dtype=np.int64) * MINUTE
    return Bars(times, *(np.ascontiguousarray(column) for column in columns), np.ones(len(rows)))


class Script:
    """Does what it is told at each bar."""

    def __init__(self, actions: Mapping[int, Callable[[Any], object]]) -> None:
        self._actions = actions
        self.seen: list[tuple[int, float]] = []

    def on_bar(self, bar: Any, broker: Any) -> None:
        self.seen.append((bar.index, bar.close))
        action = self._actions.get(bar.index)
        if action is not None:
            action(broker)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class Wanderer:
    """Orders of many sizes and both directions from a generator of its own, whose state is one number."""

    def __init__(self, seed: int = 1, every: int = 3) -> None:
        self._number = seed
        self._every = every

    def on_bar(self, bar: Any, broker: Any) -> None:
        self._number = (self._number * 1103515245 + 12345) % 2**31
        if self._number // 7 % self._every == 0:
            broker.order(float(self._number // 100 % 41 - 20) or 5.0)
        if self._number // 11 % 7 == 0:
            broker.order(0.1 * (self._number // 1000 % 9 + 1) * (1 if self._number // 13 % 2 else -1))
        if self._number // 17 % 23 == 0:
            broker.target(0.0)

    def state_dict(self) -> dict[str, Any]:
        return {"number": self._number}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._number = state["number"]


class Half(Wanderer):
    """No strategy to be registered: it has parameters and no version."""

    Parameters = ContractModel


def digest_of(engine: BacktestingEngine) -> str:
    """Digest of everything that a run leaves."""
    logs = engine.logs
    return digest_of_bytes(
        canonical_json(
            {
                "equity": logs.equity.tolist(),
                "cash": logs.cash.tolist(),
                "position": logs.position.tolist(),
                "fills": [asdict(fill) for fill in logs.fills],
                "trades": [asdict(trade) for trade in logs.trades],
                "waiting": [asdict(order) for order in engine.waiting],
            }
        )
    )


def through_json(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state as a checkpoint would give it back."""
    return json.loads(canonical_json(dict(state)))


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
        self._held: list[tuple[CheckpointData, CheckpointReason]] = []
        self.saved: list[tuple[int, CheckpointReason]] = []
        self.checkpoints: list[LoadedCheckpoint] = []
        self.new_names: list[list[str]] = []
        self.reported: list[tuple[int, dict[str, float]]] = []
        self.on_progress: Callable[[int], None] = lambda unit: None
        self.manual_requests = 0

    def progress(self, unit: int, metrics: Mapping[str, float]) -> None:
        self.reported.append((unit, dict(metrics)))
        self.on_progress(unit)

    def save(self, data: CheckpointData, reason: CheckpointReason) -> None:
        self.saved.append((data.unit, reason))
        self._held.append((data, reason))
        if self._at_once:
            self.write()

    def write(self) -> None:
        """Write what was handed over."""
        for data, reason in self._held:
            self._write(data, reason)
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
        staged = self._spool.stage("op-test", name, data, reason=reason, total_units=10**9)
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
