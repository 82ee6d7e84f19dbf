"""Milepost as its worker's child runs it: engine, progress bridge, sink, spool; the host's part is played here.

A boundary is reported just before the next step, so that one that saves can be told from one that does not.
"""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import torch
from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_runtime.bridge.cancellation import CancellationToken
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.checksums import measure_both
from milepost_runtime.clock import SystemClock
from milepost_runtime.worker.child_sink import ChildSink
from milepost_runtime.worker.messages import Staged
from milepost_trainer.bridge import TrainingProgressBridge
from milepost_trainer.captures import Captures
from milepost_trainer.engine.parts import Part, TrainingParts
from milepost_trainer.engine.settings import OptimizerSettings, TrainingSettings
from milepost_trainer.engine.trainer import ModelTrainer
from milepost_trainer.kept_parts import KeptParts
from milepost_trainer.state_files import CheckpointTensors, read_values
from milepost_trainer.write_pace import WriteSettings
from torch import Tensor

from tests.benchmarks.peers.contender import Contender
from tests.benchmarks.peers.workload import (
    LEARNING_RATE,
    WEIGHT_DECAY,
    Size,
    build_model,
    loss_of,
    samples_of,
)

STEPS_PER_EPOCH = 1_000
"""More than any course has, so that no epoch ends within one; a load makes an epoch's order of samples anew."""
NEVER = CheckpointPolicySpec(every_seconds=24 * 3600)
WAIT_SECONDS = 120.0
PROGRESS_SECONDS = 3600.0
"""Reports of progress are no part of a save: they go out at boundaries four times a second, with or without."""


class EndlessData:
    """The ready samples again and again, as one long epoch."""

    def __init__(self, size: Size) -> None:
        self._count = size.batch * STEPS_PER_EPOCH
        self._inputs, self._targets = samples_of(size)

    def count(self, part: Part) -> int:
        return self._count if part == "train" else 1

    def batch(self, part: Part, samples: Tensor) -> tuple[Tensor, Tensor]:
        chosen = samples % len(self._inputs)
        return self._inputs[chosen], self._targets[chosen]


class Milepost(Contender):
    """At full speed, as a manual checkpoint would be welcome."""

    name = "Milepost"
    megabytes_per_second: ClassVar[float] = 1e6

    def __init__(self, size: Size, directory: Path) -> None:
        super().__init__(size, directory)
        self._trainer = self._training(seed=1)
        # As a worker's child does, which computes nothing else: random states are then those of the process.
        self._entered = ExitStack()
        self._entered.enter_context(self._trainer.entered())
        self._spool = Spool(directory)
        self._staged: queue.Queue[tuple[Path, float]] = queue.Queue()
        self._newest = (Path(), 0.0)
        self._pending = 0
        self._save_now = threading.Event()
        self._sink = ChildSink(
            spool=self._spool,
            operation_id="op-bench",
            send=self._hear,
            save_now=self._save_now,
            clock=SystemClock(),
            progress_seconds=PROGRESS_SECONDS,
            total_units=self._trainer.total_units,
        )
        self._bridge = self._bridge_of(self._trainer)
        self._waited_seconds = 0.0
        self._watch_updates()
        self._bridge.begin()
        self._reached = True

    def step(self) -> float:
        if not self._reached:
            self._bridge.reach()
        self._waited_seconds = 0.0
        self._trainer.advance(self._trainer.unit + 1)
        self._reached = False
        return self._waited_seconds

    def save(self) -> float:
        self._save_now.set()
        self._pending += 1
        began = time.perf_counter()
        self._bridge.reach()
        stalled_seconds = time.perf_counter() - began
        self._reached = True
        return stalled_seconds

    def wait_durable(self) -> float:
        while self._pending:
            self._newest = self._staged.get(timeout=WAIT_SECONDS)
            self._sink.committed(str(self._newest[0]))
            self._pending -= 1
        return self._newest[1]

    def newest(self) -> Path:
        return self._newest[0]

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._trainer.live_state().tensors)

    def loading(self) -> Callable[[], dict[str, Tensor]]:
        with torch.random.fork_rng():  # the random states of the process are this training's
            trainer = self._training(seed=2)
        staged = self._spool.load(self.newest())
        # The host has them from the pass in which it fetched the files and verified their digests.
        checksums = {
            file.name: measure_both(staged.directory / file.name)[1].checksum for file in staged.files
        }
        loaded = LoadedCheckpoint(staged.unit, staged.directory, staged.files, staged.fingerprint, checksums)

        def load() -> dict[str, Tensor]:
            trainer.restore(read_values(loaded), CheckpointTensors(loaded))
            return dict(trainer.live_state().tensors)

        return load

    def close(self) -> None:
        self._bridge.__exit__(None, None, None)
        self._sink.close()
        self._entered.close()

    def _training(self, seed: int) -> ModelTrainer:
        parts = TrainingParts(model=build_model(self.size, seed), data=EndlessData(self.size), loss=loss_of)
        optimizer = OptimizerSettings("adamw", LEARNING_RATE, WEIGHT_DECAY)
        return ModelTrainer(
            parts, TrainingSettings(batch_size=self.size.batch, unit="step", optimizer=optimizer, seed=seed)
        )

    def _bridge_of(self, trainer: ModelTrainer) -> TrainingProgressBridge:
        clock = SystemClock()
        host = BridgeHost(
            sink=self._sink,
            token=CancellationToken(),
            policy=NEVER,
            clock=clock,
            total_units=trainer.total_units,
        )
        return TrainingProgressBridge(
            host,
            trainer,
            fingerprint={},
            kept=KeptParts(),
            captures=Captures(trainer, clock),
            write=WriteSettings(self.megabytes_per_second),
        )

    def _watch_updates(self) -> None:
        """Measure what the engine waits for before it changes weights, less what reading the clock takes there."""
        settle = self._trainer.before_update
        assert settle is not None

        def watched() -> None:
            read = time.perf_counter()
            began = time.perf_counter()
            settle()
            self._waited_seconds += time.perf_counter() - began - (began - read)

        self._trainer.before_update = watched

    def _hear(self, message: object) -> None:
        if isinstance(message, Staged):
            self._staged.put((Path(message.directory), time.perf_counter()))


class MilepostPaced(Milepost):
    """With the write cap that a worker has by default."""

    name = "Milepost, write cap"
    remark = (
        f"at most {WriteSettings().megabytes_per_second:g} MB/s while the training goes on, as by default"
    )
    megabytes_per_second = WriteSettings().megabytes_per_second
