"""Tensors in files: safetensors only, never pickle, also not on load."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from milepost_runtime.checkpoints.data import FileWriter, LoadedCheckpoint
from milepost_runtime.errors import CheckpointDamagedError
from safetensors import SafetensorError
from torch import Tensor

from milepost_trainer.engine.state import TrainerState

# Its types are half there; Any says so once.
files: Any = safetensors.torch

TENSORS_FILE = "tensors.safetensors"
TENSORS_MEDIA_TYPE = "application/vnd.safetensors"


class TensorsWriter(FileWriter):
    """Writes tensors that nobody changes any more."""

    media_type = TENSORS_MEDIA_TYPE

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)

    def write(self, path: Path) -> None:
        """Write the file; the same tensors give the same bytes."""
        write_tensors(self._tensors, path)


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write contiguous tensors that share no memory; without metadata, so equal tensors are equal bytes."""
    files.save_file(dict(tensors), path)


def read_state(checkpoint: LoadedCheckpoint) -> TrainerState:
    """Return the state that a checkpoint holds.

    Raises:
        CheckpointDamagedError: a file is missing or cannot be read.
    """
    try:
        values = checkpoint.state()
        tensors = files.load_file(checkpoint.path(TENSORS_FILE))
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointDamagedError(f"{checkpoint.directory.name}: {error}") from error
    return TrainerState(values, tensors)
