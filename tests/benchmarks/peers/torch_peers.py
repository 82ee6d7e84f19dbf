"""PyTorch's own ways: ``torch.save``, and distributed checkpoint (DCP) on one process.

Each is used as its documentation says; DCP with its default file system writer, which fsyncs.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from milepost_runtime.store.durable import fsync_directory
from torch import Tensor, nn
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_saver import AsyncSaveResponse

from tests.benchmarks.peers.contender import LoopContender
from tests.benchmarks.peers.workload import Size, tensors_of


class TorchSave(LoopContender):
    """``torch.save`` to a temporary name, fsync, rename, fsync of the directory."""

    name = "torch.save + fsync"
    _saved: Path
    _durable: float

    def save(self) -> float:
        began = time.perf_counter()
        path = self.next_path(".pt")
        temporary = path.with_suffix(".part")
        with temporary.open("wb") as file:
            torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        fsync_directory(self.directory)
        self._saved, self._durable = path, time.perf_counter()
        return self._durable - began

    def wait_durable(self) -> float:
        return self._durable

    def newest(self) -> Path:
        return self._saved

    def loading(self) -> Callable[[], dict[str, Tensor]]:
        model, optimizer = self.training(seed=2)

        def load() -> dict[str, Tensor]:
            content: dict[str, Any] = torch.load(self._saved, map_location="cpu", weights_only=True)
            model.load_state_dict(content["model"])
            optimizer.load_state_dict(content["optimizer"])
            return tensors_of(model, optimizer)

        return load


class DistributedCheckpointSave(LoopContender):
    """``dcp.save``: synchronous."""

    name = "DCP save"
    _saved: Path
    _durable: float

    def state(self) -> dict[str, Any]:
        """Return the state the way DCP's tutorial does."""
        return _state_of(self.model, self.optimizer)

    def save(self) -> float:
        began = time.perf_counter()
        self._saved = self.next_path()
        dcp.save(self.state(), checkpoint_id=self._saved, no_dist=True)
        self._durable = time.perf_counter()
        return self._durable - began

    def wait_durable(self) -> float:
        return self._durable

    def newest(self) -> Path:
        return self._saved

    def loading(self) -> Callable[[], dict[str, Tensor]]:
        model, optimizer = self.training(seed=2)

        def load() -> dict[str, Tensor]:
            state = _state_of(model, optimizer)
            dcp.load(state, checkpoint_id=self._saved, no_dist=True)
            set_state_dict(
                model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"]
            )
            return tensors_of(model, optimizer)

        return load


class DistributedCheckpointThread(DistributedCheckpointSave):
    """``dcp.async_save`` as it comes: copies at once, a thread writes."""

    name = "DCP async_save"
    _written: Future[Any] | None = None

    def save(self) -> float:
        self.wait_durable()  # as its tutorial does: one at a time
        began = time.perf_counter()
        self._saved = self.next_path()
        written = dcp.async_save(self.state(), checkpoint_id=self._saved, no_dist=True)
        stalled_seconds = time.perf_counter() - began
        assert isinstance(written, Future)
        self._note(written)
        return stalled_seconds

    def wait_durable(self) -> float:
        if self._written is None:
            return 0.0
        self._written.result()
        return self._durable_soon.result()

    def _note(self, written: Future[Any]) -> None:
        self._written = written
        self._durable_soon: Future[float] = Future()
        durable = self._durable_soon
        written.add_done_callback(lambda _: durable.set_result(time.perf_counter()))


class DistributedCheckpointStager(DistributedCheckpointThread):
    """``dcp.async_save`` with a kept stager that copies in its own thread; the step waits for the copy."""

    name = "DCP async_save, stager"
    _staged: Future[Any] | None = None

    def __init__(self, size: Size, directory: Path) -> None:
        super().__init__(size, directory)
        self._stager = DefaultStager(
            StagingOptions(
                use_pinned_memory=False,
                use_shared_memory=False,
                use_async_staging=True,
                use_non_blocking_copy=False,
            )
        )

    def save(self) -> float:
        self.wait_durable()
        began = time.perf_counter()
        self._saved = self.next_path()
        response = dcp.async_save(
            self.state(), checkpoint_id=self._saved, async_stager=self._stager, no_dist=True
        )
        stalled_seconds = time.perf_counter() - began
        assert isinstance(response, AsyncSaveResponse)
        self._staged = response.staging_completion
        self._note(response.upload_completion)
        return stalled_seconds

    def before_update(self) -> float:
        if self._staged is None:
            return 0.0
        began = time.perf_counter()
        self._staged.result()
        self._staged = None
        return time.perf_counter() - began

    def close(self) -> None:
        self._stager.close()


def _state_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    of_model, of_optimizer = get_state_dict(model, optimizer)
    return {"model": of_model, "optimizer": of_optimizer}
