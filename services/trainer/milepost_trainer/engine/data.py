"""Samples as windows over rows, and the stateless order in which a training sees them."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from milepost_trainer.engine.errors import TrainingError


@dataclass(frozen=True, slots=True, eq=False)
class WindowedData:
    """Rows of features; a sample is the window of rows that ends at its index, with the target of that row."""

    features: Tensor
    """float32, rows by features."""
    targets: Tensor
    """float32, one for each row; rows that no part names may hold anything."""
    window: int
    train: Tensor
    """Indices (int64) of the samples of each part."""
    validation: Tensor
    test: Tensor

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            indices: Tensor = getattr(self, name)
            if not len(indices):
                raise TrainingError(f"the {name} part has no samples")
            if int(indices.min()) < self.window - 1 or int(indices.max()) >= len(self.features):
                raise TrainingError(f"the {name} part names rows whose window is not there")

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs (samples by window by features) and targets of some samples."""
        offsets = torch.arange(1 - self.window, 1)
        return self.features[indices.unsqueeze(1) + offsets], self.targets[indices]


def permutation(seed: int, epoch: int, count: int) -> Tensor:
    """Return the order of an epoch's samples: it follows from its arguments alone, so it needs no state."""
    return torch.randperm(count, generator=generator_for(seed, f"order {epoch}"))


def generator_for(seed: int, purpose: str) -> torch.Generator:
    """Return a generator of its own for each purpose under one seed."""
    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
