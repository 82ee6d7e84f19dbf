"""A team's training that gets into trouble at a batch of choice, in every way a process can."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from milepost_contracts.model import ContractModel
from milepost_trainer.engine.parts import TrainingParts
from milepost_trainer.samples import TensorSamples
from milepost_trainer.task import BuiltTask, TaskContext, seeded
from torch import Tensor, nn
from torch.nn.functional import mse_loss

Trouble = Literal[
    "none", "raise", "memory", "torch-memory", "exit", "crash", "killed", "print", "threads", "processes"
]
TRAIN, VALIDATION, BATCH = 64, 16, 16
LOSSES_PER_EPOCH = TRAIN // BATCH + 1
LINES_PRINTED = 20_000


class UnspeakableError(Exception):
    """One that cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class TroubledParameters(ContractModel):
    """What happens, and when."""

    does: Trouble = "none"
    at: int = 4 * LOSSES_PER_EPOCH + 3
    """The loss before which it happens, counted from 1: in the middle of the fifth epoch."""
    once: str | None = None
    """A file that is made then; where it is there already, nothing happens."""


class TroubledTask:
    """Implements ``TrainingTask``."""

    name = "troubled"
    version = "1"
    parameters = TroubledParameters

    def build(self, context: TaskContext[TroubledParameters]) -> BuiltTask:
        """A perceptron over noise whose loss makes the trouble."""
        with seeded(context.seed):
            model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))
            inputs = torch.randn(TRAIN + VALIDATION, 3)
        targets = inputs.sum(dim=1, keepdim=True)
        data = TensorSamples(
            train=(inputs[:TRAIN], targets[:TRAIN]), validation=(inputs[TRAIN:], targets[TRAIN:])
        )
        return BuiltTask(TrainingParts(model=model, data=data, loss=_Loss(context.parameters)))


class _Loss:
    def __init__(self, parameters: TroubledParameters) -> None:
        self._parameters = parameters
        self._calls = 0

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self._calls += 1
        if self._calls == self._parameters.at and self._first_time():
            TROUBLES[self._parameters.does]()
        return mse_loss(outputs, targets)

    def _first_time(self) -> bool:
        if self._parameters.once is None:
            return True
        marker = Path(self._parameters.once)
        known = marker.exists()
        marker.touch()
        return not known


def wrong_line() -> None:
    raise UnspeakableError


def crash() -> None:
    print("about to crash")
    ctypes.string_at(0)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def print_much() -> None:
    for number in range(LINES_PRINTED):
        print(f"line {number}", "x" * 100)
    sys.stderr.write("y" * 1_000_000)  # one endless line


def leave_threads() -> None:
    """Threads that are no daemons and never end, and one that dies."""
    for _ in range(3):
        threading.Thread(target=threading.Event().wait).start()
    threading.Thread(target=wrong_line).start()


def leave_processes() -> None:
    """A process that lives on and holds the output's pipe open."""
    subprocess.Popen([sys.executable, "-c", "import time; print('left behind', flush=True); time.sleep(600)"])


TROUBLES: dict[Trouble, Callable[[], object]] = {
    "none": lambda: None,
    "raise": wrong_line,
    "memory": lambda: bytearray(1 << 60),
    "torch-memory": lambda: torch.empty(1 << 58),
    "exit": lambda: sys.exit("enough for today"),
    "crash": crash,
    "killed": kill,
    "print": print_much,
    "threads": leave_threads,
    "processes": leave_processes,
}
