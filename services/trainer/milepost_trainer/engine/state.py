"""The state of a training between two micro-batches: tensors by flat key, and the rest as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from milepost_trainer.engine.errors import StateMismatchError

MODEL, OPTIMIZER, GRADIENT, BEST, RANDOM = "model.", "optimizer.", "gradient.", "best.", "random.torch"
"""What the keys of tensors begin with."""

STATE_FIELDS = frozenset(
    {"epoch", "position", "running_loss", "history", "best_loss", "best_epoch", "scheduler"}
)


@dataclass(frozen=True, slots=True, eq=False)
class TrainerState:
    """Everything that a fresh trainer needs to go on exactly; a copy that no training changes."""

    values: Mapping[str, Any]
    """JSON values; floats are exact in ``repr``."""
    tensors: Mapping[str, Tensor]
    """Contiguous, none shares memory with another."""

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors of one kind, by the rest of their key."""
        return {
            key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)
        }


def copied(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return real copies under prefixed keys."""
    return {
        f"{prefix}{name}": value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }


def problems_of(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, what: str, all_of_them: bool = True
) -> list[str]:
    """Return what keeps the tensors from being loaded: missing, unknown, of another shape or type."""
    problems = [f"{what}{name} is unknown" for name in sorted(found.keys() - expected.keys())]
    if all_of_them:
        problems += [f"{what}{name} is missing" for name in sorted(expected.keys() - found.keys())]
    for name in sorted(found.keys() & expected.keys()):
        has, wants = found[name], expected[name]
        if has.shape != wants.shape or has.dtype != wants.dtype:
            problems.append(
                f"{what}{name} is {has.dtype} {tuple(has.shape)}, not {wants.dtype} {tuple(wants.shape)}"
            )
    return problems


def check_values(values: Mapping[str, Any]) -> None:
    """Refuse values that are not those of a training.

    Raises:
        StateMismatchError: fields are missing or unknown; each is named.
    """
    wrong = sorted(values.keys() ^ STATE_FIELDS)
    if wrong:
        raise StateMismatchError("fields missing or unknown: " + ", ".join(wrong))
