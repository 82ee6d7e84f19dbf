"""A kind that counts: each unit hashes the value before it, so a lost or doubled unit changes the result.

Its spec makes it misbehave at a unit: raise, abort like a native crash, or hold the interpreter in native code.
With ``once`` (a path) it does so only the first time, so a later attempt gets through.
"""

import ctypes
import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_contracts.kinds import KindDescription
from milepost_contracts.model import ContractModel
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.bridge.progress_bridge import ProgressBridge
from milepost_runtime.checkpoints.data import CheckpointData, LoadedCheckpoint
from milepost_runtime.worker.kind import Job, JobContext, JobResult


class CounterSpec(ContractModel):
    """How far to count and where to stumble."""

    units: int
    at: int | None = None
    does: Literal["raise", "abort", "native", "exit"] = "raise"
    seconds: float = 0.0
    once: str | None = None
    salt: str = ""
    """Goes into each unit; what a fork may change."""


class CounterKind:
    """Registered as ``counter``."""

    name = "counter"
    default_checkpoint_policy = CheckpointPolicySpec(every_units=50, min_seconds=0.0)

    def describe(self) -> KindDescription:
        return KindDescription(
            kind=self.name,
            unit_name="step",
            spec_schema=CounterSpec.model_json_schema(),
            changeable={"units": (), "salt": ("salt",)},
            example={"units": int(os.environ.get("MILEPOST_TEST_COUNTER_EXAMPLE", "100"))},
        )

    def warm_up(self) -> None:
        """Nothing is heavy, unless imports without end are wanted."""
        if os.environ.get("MILEPOST_TEST_WARM_UP") == "endless":
            threading.Event().wait()

    def create_job(self, context: JobContext) -> Job:
        return CounterJob(CounterSpec.model_validate(context.spec))


class CounterBridge(ProgressBridge[dict[str, object]]):
    """The worker-specific part: the whole state is two values."""

    fingerprint: Mapping[str, str]

    def build_checkpoint_data(self, unit: int, state: dict[str, object]) -> CheckpointData:
        return CheckpointData(unit=unit, state=state, fingerprint=self.fingerprint, summary={"unit": unit})


class CounterJob:
    """Counts."""

    def __init__(self, spec: CounterSpec) -> None:
        self.total_units = spec.units
        self.unit_name = "step"
        self.fingerprint = {
            "counter": os.environ.get("MILEPOST_TEST_COUNTER_VERSION", "1"),
            "environment.abacus": os.environ.get("MILEPOST_TEST_ABACUS_VERSION", "1"),
            **({"salt": spec.salt} if spec.salt else {}),
        }
        self._spec = spec
        self._unit = 0
        self._value = hashlib.sha256(b"start").hexdigest()

    def restore_from_checkpoint(self, checkpoint: LoadedCheckpoint) -> None:
        state = checkpoint.state()
        self._unit, self._value = state["unit"], state["value"]

    def run(self, host: BridgeHost) -> bool:
        with CounterBridge(host) as bridge:
            bridge.fingerprint = self.fingerprint
            going_on = bridge.start(self._unit, self._state())
            while going_on and self._unit < self.total_units:
                self._advance(bridge)
                going_on = bridge.update_state(self._unit, self._state(), {"half": self._unit / 2})
            return going_on

    def _advance(self, bridge: CounterBridge) -> None:
        until = bridge.next_boundary(self._unit)
        try:
            while self._unit < until:
                self._step()
        except RuntimeError:
            if self._unit > bridge.unit:
                bridge.update_state(self._unit, self._state())
            raise

    def write_results(self, directory: Path) -> JobResult:
        (directory / "value.json").write_text(json.dumps({"unit": self._unit, "value": self._value}))
        return JobResult(files={"value.json": "application/json"}, summary={"value": self._value})

    def _state(self) -> dict[str, object]:
        return {"unit": self._unit, "value": self._value}

    def _step(self) -> None:
        if self._unit == self._spec.at:
            self._stumble()
        self._value = _next_value(self._value, self._unit, self._spec.salt)
        self._unit += 1

    def _stumble(self) -> None:
        spec = self._spec
        if spec.once is not None:
            marker = Path(spec.once)
            if marker.exists():
                return
            marker.touch()
        match spec.does:
            case "raise":
                raise RuntimeError(f"stumbled at unit {self._unit}")
            case "abort":
                os.abort()
            case "exit":
                os._exit(7)
            case "native":
                # PyDLL keeps the interpreter's lock, as a native kernel that never comes up for air does.
                ctypes.PyDLL(None).usleep(int(spec.seconds * 1_000_000))


def _next_value(value: str, unit: int, salt: str) -> str:
    return hashlib.sha256(f"{value}{unit}{salt}".encode()).hexdigest()


def expected_value(units: int, *, salted_from: int | None = None, salt: str = "") -> str:
    """What an undisturbed count of ``units`` ends with, or one that was forked with a salt at a unit."""
    value = hashlib.sha256(b"start").hexdigest()
    for unit in range(units):
        salted = salted_from is not None and unit >= salted_from
        value = _next_value(value, unit, salt if salted else "")
    return value
