"""Plain PyTorch data as the engine wants it: samples by number, in three parts."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils import data

from milepost_trainer.engine.parts import Part

_stacked: Callable[[list[Any]], Any] = data.default_collate  # pyright: ignore[reportUnknownVariableType]


class TensorSamples:
    """Implements ``TrainingData`` over tensors in memory: inputs and targets of each part, samples first."""

    def __init__(
        self,
        *,
        train: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor],
        test: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self._parts = {"train": train, "validation": validation, "test": test or (train[0][:0], train[1][:0])}
        for name, (inputs, targets) in self._parts.items():
            if len(inputs) != len(targets):
                raise ValueError(f"{name}: {len(inputs)} inputs and {len(targets)} targets")

    def count(self, part: Part) -> int:
        """Return how many samples a part has."""
        return len(self._parts[part][0])

    def batch(self, part: Part, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of these samples."""
        inputs, targets = self._parts[part]
        return inputs[samples], targets[samples]


class MapDataset(Protocol):
    """A map-style ``torch.utils.data.Dataset`` whose items are (input, target).

    An item must depend on its number alone: what is random belongs into ``TrainingParts.augment``, which is keyed
    so that a resumed run draws the same.
    """

    def __len__(self) -> int:
        """Return how many samples there are."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Return input and target of one sample."""
        ...


class DatasetSamples:
    """Implements ``TrainingData`` over map-style datasets, item by item; tensors in memory are much faster."""

    def __init__(self, *, train: MapDataset, validation: MapDataset, test: MapDataset | None = None) -> None:
        self._parts: Mapping[Part, MapDataset | None] = {
            "train": train,
            "validation": validation,
            "test": test,
        }

    def count(self, part: Part) -> int:
        """Return how many samples a part has."""
        dataset = self._parts[part]
        return 0 if dataset is None else len(dataset)

    def batch(self, part: Part, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of these samples, stacked."""
        dataset = self._parts[part]
        if dataset is None:
            raise ValueError(f"there is no {part} part")
        inputs, targets = _stacked([dataset[int(number)] for number in samples])
        return torch.as_tensor(inputs), torch.as_tensor(targets)
