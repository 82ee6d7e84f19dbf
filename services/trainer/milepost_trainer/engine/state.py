"""The state of a training between two micro-batches: tensors by flat key, and the rest as plain values.

Keys of tensors: ``model.<name>`` (trainable parameters and all buffers), ``frozen.<name>`` (parameters that
need no gradient: they never change), ``optimizer.<name>.<slot>``, ``gradient.<name>`` (between the
micro-batches of an accumulation only), ``average.<name>``, ``best.<name>`` (only when the best weights are
not the present ones) and ``random.<which>``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from milepost_trainer.engine.errors import StateMismatchError

MODEL, FROZEN, OPTIMIZER, GRADIENT = "model.", "frozen.", "optimizer.", "gradient."
AVERAGE, BEST, RANDOM = "average.", "best.", "random."

STATE_FIELDS = frozenset(
    {
        "epoch",
        "position",
        "running_loss",
        "history",
        "best_loss",
        "best_epoch",
        "scheduler",
        "averaged_steps",
        "scaler",
    }
)

Layout = Mapping[str, tuple[torch.Size, torch.dtype]]
"""Shape and type of each tensor, by key."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainerState:
    """Everything that a fresh trainer needs to go on exactly."""

    values: Mapping[str, Any]
    """JSON values; floats are exact in ``repr``."""
    tensors: Mapping[str, Tensor]
    """By flat key; none shares memory with another."""

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors of one kind, by the rest of their key."""
        return part_of(self.tensors, prefix)


@dataclass(frozen=True, slots=True, eq=False)
class Boundary:
    """The state between two micro-batches, without what only an optimizer step changes; cheap to have."""

    values: Mapping[str, Any]
    """JSON values; what they hold does not change any more, and is not to be changed."""
    buffers: Mapping[str, Tensor]
    """The model's live ones by name, to be copied before the next forward pass; the same object if none is new."""
    settled: Mapping[str, Tensor]
    """By flat key: frozen and best weights, copied gradients. Nothing changes them any more."""
    random: Callable[[], Mapping[str, Tensor]]
    """The random states of this moment as tensors by flat key; any thread may call it, at any time."""


class TensorSource(Protocol):
    """Where the tensors of a saved state are read from."""

    def layout(self) -> Layout:
        """Return what there is to read."""
        ...

    def read_into(self, tensors: Mapping[str, Tensor]) -> None:
        """Fill these contiguous CPU tensors, of the keys, shapes and types of the layout (some or all of it).

        May raise; the tensors then hold anything.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TensorsInMemory:
    """Implements ``TensorSource`` over tensors that are here already."""

    tensors: Mapping[str, Tensor]

    def layout(self) -> Layout:
        """Return what there is to read."""
        return layout_of(self.tensors)

    def read_into(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy."""
        for key, target in tensors.items():
            target.copy_(self.tensors[key].detach())


def layout_of(tensors: Mapping[str, Tensor]) -> Layout:
    """Return shapes and types."""
    return {key: (value.shape, value.dtype) for key, value in tensors.items()}


def part_of(entries: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries whose key begins with ``prefix``, by the rest of it."""
    return {key.removeprefix(prefix): value for key, value in entries.items() if key.startswith(prefix)}


def referred(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors themselves under prefixed keys."""
    return {f"{prefix}{name}": _detached(value) for name, value in tensors.items()}


def copied(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return real copies under prefixed keys."""
    return {
        f"{prefix}{name}": _detached(value).clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }


def _detached(tensor: Tensor) -> Tensor:
    return tensor.detach() if tensor.requires_grad else tensor


def problems_of(
    found: Layout, expected: Layout, *, prefix: str, optional: frozenset[str] | None = frozenset()
) -> list[str]:
    """Return what keeps tensors from being loaded: missing, unknown, of another shape or type.

    ``optional`` ones may be missing; None: all of them may.
    """
    missing = set[str]() if optional is None else expected.keys() - found.keys() - optional
    problems = [f"{prefix}{name} is unknown" for name in sorted(found.keys() - expected.keys())]
    problems += [f"{prefix}{name} is missing" for name in sorted(missing)]
    for name in sorted(found.keys() & expected.keys()):
        (shape, dtype), (wanted_shape, wanted_dtype) = found[name], expected[name]
        if (shape, dtype) != (wanted_shape, wanted_dtype):
            problems.append(
                f"{prefix}{name} is {dtype} {tuple(shape)}, not {wanted_dtype} {tuple(wanted_shape)}"
            )
    return problems


def check_values(values: Mapping[str, Any]) -> None:
    """Refuse values that are not those of a training.

    Raises:
        StateMismatchError: fields are missing, unknown or no counts; each is named.
    """
    wrong = sorted(values.keys() ^ STATE_FIELDS)
    if wrong:
        raise StateMismatchError("fields missing or unknown: " + ", ".join(wrong))
    counts = ("epoch", "position", "best_epoch", "averaged_steps")
    wrong = [name for name in counts if type(values[name]) is not int or values[name] < 0]
    if wrong:
        raise StateMismatchError("no counts: " + ", ".join(wrong))
