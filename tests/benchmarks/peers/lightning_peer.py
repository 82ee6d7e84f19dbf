"""Lightning's ``ModelCheckpoint``, plain and over ``AsyncCheckpointIO``, inside its own ``Trainer.fit``.

``fit`` keeps the loop for itself, so it runs in a thread of its own and stands still after every step until the
measuring thread says what comes next. Authority: only one of the two threads runs at any time. Failures: an
exception in ``fit`` is raised in the measuring thread at its next call.

Neither plugin fsyncs: a checkpoint is durable when the kernel thinks so. The figure is what Lightning takes
until its file is complete, and an fsync by us after the disturbed steps.
"""

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import AsyncCheckpointIO, TorchCheckpointIO
from milepost_runtime.store.durable import fsync_directory, fsync_file
from torch import Tensor
from torch.utils.data import IterableDataset

from tests.benchmarks.peers.contender import Contender
from tests.benchmarks.peers.workload import (
    Size,
    build_model,
    build_optimizer,
    endless_batches,
    loss_of,
    tensors_of,
)

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # about devices that there are none of

Order = Literal["step", "save", "end"]


class Module(LightningModule):
    """The workload as Lightning wants it."""

    def __init__(self, size: Size, seed: int) -> None:
        super().__init__()
        self.net = build_model(size, seed)
        self.optimizer = build_optimizer(self.net)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        inputs, targets = batch
        loss = loss_of(self.net(inputs), targets)
        loss.item()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer


class Batches(IterableDataset[tuple[Tensor, Tensor]]):
    """The ready batches, for ever."""

    def __init__(self, size: Size) -> None:
        self._size = size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return endless_batches(self._size)


class OrderedCheckpoint(ModelCheckpoint):
    """Stands still after each step, and saves when told to; Lightning calls it as the last of all callbacks."""

    def __init__(self, directory: Path) -> None:
        super().__init__(dirpath=directory, filename="{step:06d}", every_n_train_steps=1, save_top_k=-1)
        self._turn, self._idle = threading.Semaphore(0), threading.Semaphore(0)
        self._order: Order = "step"
        self._stalled_seconds = 0.0
        self._error: BaseException | None = None
        self._ended = False

    def order(self, order: Order) -> float:
        """Have it done; return the seconds of a save."""
        self._order = order
        self._turn.release()
        return self.wait_idle()

    def wait_idle(self) -> float:
        """Wait until the training stands still."""
        self._idle.acquire()
        if self._error is not None:
            raise self._error
        return self._stalled_seconds

    def ended(self, error: BaseException | None) -> None:
        """``fit`` has returned."""
        self._ended, self._error = True, error
        self._idle.release()

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any, **others: Any) -> None:
        while True:
            self._idle.release()
            self._turn.acquire()
            if self._order != "save":
                break
            began = time.perf_counter()
            super().on_train_batch_end(trainer, *arguments, **others)
            self._stalled_seconds = time.perf_counter() - began
        trainer.should_stop = self._order == "end"


class NotingCheckpointIO(TorchCheckpointIO):
    """Lightning's default, which also says when a file is complete."""

    def __init__(self) -> None:
        self._complete = threading.Event()
        self.completed: float = 0.0
        self.path = Path()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        super().save_checkpoint(checkpoint, path, storage_options)
        self.path, self.completed = Path(path), time.perf_counter()
        self._complete.set()

    def expect(self) -> None:
        """Begin to wait for a new file."""
        self._complete.clear()

    def wait_complete(self) -> None:
        """Wait until that file is complete."""
        self._complete.wait()


class Lightning(Contender):
    """``ModelCheckpoint`` with the plain plugin."""

    name = "Lightning"
    remark = "no fsync of its own; ours is added"
    asynchronous = False

    def __init__(self, size: Size, directory: Path) -> None:
        super().__init__(size, directory)
        self._module = Module(size, seed=1)
        self._files = NotingCheckpointIO()
        self._checkpoint = OrderedCheckpoint(directory)
        self._thread = threading.Thread(target=self._fit, name="lightning", daemon=True)
        self._thread.start()
        self._checkpoint.wait_idle()

    def step(self) -> float:
        self._checkpoint.order("step")
        return 0.0

    def save(self) -> float:
        self._files.expect()
        return self._checkpoint.order("save")

    def wait_durable(self) -> float:
        self._files.wait_complete()
        began = time.perf_counter()
        fsync_file(self._files.path)
        fsync_directory(self._files.path.parent)
        return self._files.completed + (time.perf_counter() - began)

    def newest(self) -> Path:
        return self._files.path

    def tensors(self) -> dict[str, Tensor]:
        return tensors_of(self._module.net, self._module.optimizer)

    def loading(self) -> Callable[[], dict[str, Tensor]]:
        module, path = Module(self.size, seed=2), self._files.path

        def load() -> dict[str, Tensor]:
            content = TorchCheckpointIO().load_checkpoint(path, weights_only=True)
            module.load_state_dict(content["state_dict"])
            module.optimizer.load_state_dict(content["optimizer_states"][0])
            return tensors_of(module.net, module.optimizer)

        return load

    def close(self) -> None:
        self._checkpoint.order("end")
        self._thread.join()

    def _fit(self) -> None:
        error: BaseException | None = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about workers and logging, which a benchmark has none of
                self._trainer().fit(
                    self._module, torch.utils.data.DataLoader(Batches(self.size), batch_size=None)
                )
        except BaseException as caught:  # noqa: BLE001 - raised in the measuring thread
            error = caught
        self._checkpoint.ended(error)

    def _trainer(self) -> Trainer:
        return Trainer(
            accelerator="cpu",
            max_steps=-1,
            callbacks=[self._checkpoint],
            plugins=[AsyncCheckpointIO(self._files) if self.asynchronous else self._files],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=self.directory,
        )


class LightningAsync(Lightning):
    """``ModelCheckpoint`` with the asynchronous plugin: copies at once, a thread writes."""

    name = "Lightning, async plugin"
    asynchronous = True
