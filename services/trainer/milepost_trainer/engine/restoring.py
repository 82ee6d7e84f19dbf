"""Putting a saved state into a trainer: everything is checked, then read straight to where it belongs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from milepost_trainer.engine.learner import Learner
from milepost_trainer.engine.optimizers import STEP_SLOT, slot_problems
from milepost_trainer.engine.state import (
    AVERAGE,
    BEST,
    FROZEN,
    GRADIENT,
    MODEL,
    OPTIMIZER,
    RANDOM,
    Layout,
    layout_of,
    part_of,
    problems_of,
)

DEVICES = frozenset({"cuda", "mps"})
"""Whose random states may be missing or unknown: a training may go on elsewhere, if not bit for bit."""


@dataclass(slots=True)
class Destination:
    """Contiguous CPU tensors to read into; what lives elsewhere goes through one of them."""

    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    _through: list[tuple[Tensor, Tensor]] = field(default_factory=list[tuple[Tensor, Tensor]])

    def add(self, key: str, tensor: Tensor) -> None:
        """Read this key into this tensor."""
        target = tensor.detach()
        if target.device.type != "cpu" or not target.is_contiguous():
            target = torch.empty(tensor.shape, dtype=tensor.dtype)
            self._through.append((tensor.detach(), target))
        self.tensors[key] = target

    def finish(self) -> None:
        """Copy what did not go straight to its place."""
        for tensor, read in self._through:
            tensor.copy_(read)
        self._through.clear()


def state_problems(
    learner: Learner,
    random: Mapping[str, Tensor],
    values: Mapping[str, Any],
    layout: Layout,
    *,
    best_is_present: bool,
) -> list[str]:
    """Return every difference between the saved tensors and those that the training has."""
    trainable, buffers = layout_of(learner.trainable), layout_of(learner.buffers)
    averaged = learner.average is not None and values["averaged_steps"] > 0
    has_best = values["best_loss"] is not None and not best_is_present
    random_layout = {**layout_of(random), **_device_states(layout)}
    checks: list[tuple[str, Layout, frozenset[str] | None]] = [
        (MODEL, {**trainable, **buffers}, frozenset()),
        (FROZEN, layout_of(learner.frozen), frozenset()),
        (GRADIENT, trainable, None),
        (AVERAGE, trainable if averaged else {}, frozenset()),
        (BEST, {**trainable, **buffers} if has_best else {}, frozenset()),
        (RANDOM, random_layout, DEVICES),
    ]
    problems: list[str] = []
    for prefix, expected, optional in checks:
        problems += problems_of(part_of(layout, prefix), expected, prefix=prefix, optional=optional)
    problems += slot_problems(part_of(layout, OPTIMIZER), learner.trainable, learner.slots)
    prefixes = (OPTIMIZER, *(prefix for prefix, _, _ in checks))
    return problems + [f"{key} is unknown" for key in sorted(layout) if not key.startswith(prefixes)]


def _device_states(layout: Layout) -> Layout:
    return {name: entry for name, entry in part_of(layout, RANDOM).items() if name in DEVICES}


@dataclass(slots=True)
class Restored:
    """Fresh tensors, in no use until all of them are read."""

    optimizer: dict[str, dict[str, Tensor]] = field(default_factory=dict[str, dict[str, Tensor]])
    gradients: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    average: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    best: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    random: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


def prepared(learner: Learner, layout: Layout) -> tuple[Destination, Restored]:
    """Return where each saved tensor is to be read: the live weights, and fresh tensors for everything else."""
    destination, restored = Destination(), Restored()
    own = {**learner.trainable, **learner.buffers}
    for key, (shape, dtype) in layout.items():
        kind, _, name = key.partition(".")
        match f"{kind}.":
            case "model.":
                destination.add(key, own[name])
            case "frozen.":
                destination.add(key, learner.frozen[name])
            case "optimizer.":
                parameter, _, slot = name.rpartition(".")
                like = learner.trainable[parameter]
                fresh = _fresh(shape, dtype, like=None if slot == STEP_SLOT else like)
                restored.optimizer.setdefault(parameter, {})[slot] = fresh
                destination.add(key, fresh)
            case "gradient." | "average." | "best." as prefix:
                by_prefix = {GRADIENT: restored.gradients, AVERAGE: restored.average, BEST: restored.best}
                by_prefix[prefix][name] = fresh = _fresh(shape, dtype, like=own[name])
                destination.add(key, fresh)
            case _:
                restored.random[name] = fresh = torch.empty(shape, dtype=dtype)
                destination.add(key, fresh)
    return destination, restored


def _fresh(shape: torch.Size, dtype: torch.dtype, *, like: Tensor | None) -> Tensor:
    """A tensor on the device, and in the memory order, of the one it belongs to."""
    if like is None:
        return torch.empty(shape, dtype=dtype)
    if like.shape == shape:
        return torch.empty_like(like, dtype=dtype, requires_grad=False)
    return torch.empty(shape, dtype=dtype, device=like.device)


def adopt(learner: Learner, restored: Restored, values: Mapping[str, Any]) -> None:
    """Put the fresh tensors into use."""
    learner.optimizer.state.clear()
    for name, slots in restored.optimizer.items():
        learner.optimizer.state[learner.trainable[name]].update(slots)
    for name, parameter in learner.trainable.items():
        parameter.grad = restored.gradients.get(name)
    if learner.average:
        learner.average.tensors, learner.average.steps = restored.average, values["averaged_steps"]
    if learner.scaler:
        learner.scaler.load_state_dict(values["scaler"])
