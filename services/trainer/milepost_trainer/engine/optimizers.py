"""Optimizers and the learning rate: what they remember is as little as possible, and all of it is in the state."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from milepost_trainer.engine.settings import OptimizerSettings, ScheduleSettings


def build_optimizer(settings: OptimizerSettings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer; plain loops, neither fused nor foreach, since those change the last bits."""
    plain: dict[str, Any] = {
        "lr": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "foreach": False,
    }
    match settings.name:
        case "adam":
            return torch.optim.Adam(parameters, fused=False, **plain)
        case "adamw":
            return torch.optim.AdamW(parameters, fused=False, **plain)
        case "sgd":
            return torch.optim.SGD(parameters, momentum=settings.momentum, fused=False, **plain)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, momentum=settings.momentum, **plain)


class Schedule:
    """The learning rate of each epoch; only plateau remembers anything, the others follow from the epoch."""

    def __init__(self, settings: ScheduleSettings, learning_rate: float, epochs: int) -> None:
        self._settings = settings
        self._initial = learning_rate
        self._epochs = epochs
        self._best: float | None = None
        self._wait = 0
        self._cuts = 0

    def learning_rate(self, epoch: int) -> float:
        """Return the learning rate for the epoch with this index."""
        settings = self._settings
        match settings.name:
            case "none":
                rate = self._initial
            case "step":
                rate = self._initial * settings.factor ** (epoch // settings.every_epochs)
            case "cosine":
                share = (1 + math.cos(math.pi * epoch / self._epochs)) / 2
                rate = settings.minimum + (self._initial - settings.minimum) * share
            case "plateau":
                rate = self._initial * settings.factor**self._cuts
        return max(rate, settings.minimum)

    def epoch_ended(self, validation_loss: float) -> None:
        """Take the loss into account."""
        if self._settings.name != "plateau":
            return
        if self._best is None or validation_loss < self._best:
            self._best, self._wait = validation_loss, 0
            return
        self._wait += 1
        if self._wait > self._settings.patience:
            self._cuts, self._wait = self._cuts + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers."""
        if self._settings.name != "plateau":
            return {}
        return {"best": self._best, "wait": self._wait, "cuts": self._cuts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what ``state_dict`` gave."""
        if self._settings.name == "plateau":
            self._best, self._wait, self._cuts = state["best"], state["wait"], state["cuts"]


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Return what the optimizer remembers, by parameter name and slot, not copied."""
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        slots: Mapping[str, Tensor | None] = optimizer.state.get(parameter, {})
        found |= {f"{name}.{slot}": value for slot, value in slots.items() if value is not None}
    return found


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Put back copies of what ``optimizer_tensors`` gave."""
    optimizer.state.clear()
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, _, slot = key.rpartition(".")
        optimizer.state[parameters[name]][slot] = value.detach().clone()
