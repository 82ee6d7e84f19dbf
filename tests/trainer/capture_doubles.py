"""What the tests of captures share: a training of many units, and a job with a real sink and spool."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_models.families import ModelSettings
from milepost_runtime.bridge.cancellation import CancellationToken
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.checkpoints.data import StagedCheckpoint
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.clock import SystemClock
from milepost_runtime.digests import canonical_json, digest_of_bytes
from milepost_runtime.worker.child_sink import ChildSink
from milepost_trainer.engine.settings import OptimizerSettings
from milepost_trainer.engine.state import TrainerState
from milepost_trainer.engine.trainer import ModelTrainer
from milepost_trainer.job import TrainingJob
from milepost_trainer.state_parts import PREFIXES, file_of, with_keys
from milepost_trainer.write_pace import WriteSettings
from safetensors.torch import load_file, save

from tests.trainer.trainer_doubles import Workplace, make_trainer

WIDE = ModelSettings(hidden_size=224, layers=2, dropout=0.2, normalization="batch")
"""Running statistics, and matrices that are large enough to be copied as memory."""


def stepwise(**settings: Any) -> ModelTrainer:
    """A training of 210 units, each an optimizer step."""
    fields: dict[str, Any] = {
        "unit": "step",
        "epochs": 30,
        "accumulation": 1,
        "optimizer": OptimizerSettings("adamw", 0.01, 0.01),
        "averaging_decay": 0.9,
        **settings,
    }
    return make_trainer(WIDE, **fields)


def digest_of_state(state: TrainerState) -> str:
    """Digest of every value and every tensor."""
    tensors = {key: tensor.contiguous() for key, tensor in state.tensors.items()}
    return digest_of_bytes(save(tensors) + canonical_json(dict(state.values)))


@dataclass
class Bench:
    """A job with the worker's real sink and spool, and a host that reads every checkpoint and drops it."""

    directory: Path
    trainer: ModelTrainer
    policy: CheckpointPolicySpec = field(default_factory=CheckpointPolicySpec)
    manual: bool = False
    """Ask for a checkpoint at every boundary."""
    token: CancellationToken = field(default_factory=CancellationToken)
    before_staging: Callable[[int], None] = field(default=lambda unit: None)
    """Called by the writing thread with the checkpoint's unit."""

    def __post_init__(self) -> None:
        self.found: dict[int, str] = {}
        self.reasons: list[tuple[int, CheckpointReason]] = []
        self.names: dict[int, set[str]] = {}
        self.save_now = threading.Event()
        self._store = self.directory / "store"
        self._store.mkdir()
        bench = self

        class SlowSpool(Spool):
            def stage(self, operation_id: str, checkpoint_name: str, data: Any, **rest: Any) -> Any:
                bench.before_staging(data.unit)
                return super().stage(operation_id, checkpoint_name, data, **rest)

        self._spool = SlowSpool(self.directory / "spool")
        self.sink = ChildSink(
            spool=self._spool,
            operation_id="op-1",
            send=self._hear,
            save_now=self.save_now,
            clock=SystemClock(),
            progress_seconds=0.0,
        )
        spec = Workplace(self.directory).spec()
        self.job = TrainingJob(
            self.trainer,
            spec=spec,
            card={},
            fingerprint={},
            write=WriteSettings(megabytes_per_second=100_000),
        )

    def run(self) -> bool:
        host = BridgeHost(
            sink=self.sink,
            token=self.token,
            policy=self.policy,
            clock=SystemClock(),
            total_units=self.trainer.total_units,
        )
        try:
            return self.job.run(host)
        finally:
            self.sink.close()

    def _hear(self, message: Any) -> None:
        directory = getattr(message, "directory", None)
        if directory is None:
            if self.manual:
                self.save_now.set()
            return
        staged = self._spool.load(Path(directory))
        for reference in staged.files:
            (staged.directory / reference.name).rename(self._store / reference.digest)
        self.found[staged.unit] = self._digest(staged)
        self.names[staged.unit] = {reference.name for reference in staged.files}
        self.reasons.append((staged.unit, staged.reason))
        self._spool.discard(staged.directory)
        self.sink.committed(directory)

    def _digest(self, staged: StagedCheckpoint) -> str:
        """Of the checkpoint, put together from what was stored for it and before it, read by the library."""
        paths = {reference.name: self._store / reference.digest for reference in staged.files + staged.kept}
        tensors: dict[str, torch.Tensor] = {}
        for part in PREFIXES:
            if file_of(part) in paths:
                tensors |= with_keys(part, load_file(paths[file_of(part)]))
        return digest_of_state(TrainerState(json.loads(paths["state.json"].read_bytes()), tensors))
