"""Optimizers, and which tensors each of them keeps."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from milepost_trainer.engine.errors import TrainingError
from milepost_trainer.engine.settings import OptimizerSettings
from milepost_trainer.engine.state import Layout

STEP_SLOT = "step"
"""A count that torch's optimizers keep on the CPU wherever the parameter is."""


def build_optimizer(settings: OptimizerSettings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer as torch builds it for the device; never fused, that changes the last bits."""
    plain: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    match settings.name:
        case "adam":
            return torch.optim.Adam(parameters, fused=False, **plain)
        case "adamw":
            return torch.optim.AdamW(parameters, fused=False, **plain)
        case "sgd":
            return torch.optim.SGD(parameters, momentum=settings.momentum, fused=False, **plain)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, momentum=settings.momentum, **plain)


def slots_of(settings: OptimizerSettings) -> frozenset[str]:
    """Return the names of what ``build_optimizer``'s optimizer keeps for each parameter it has changed."""
    momentum = frozenset({"momentum_buffer"}) if settings.momentum else frozenset[str]()
    match settings.name:
        case "adam" | "adamw":
            return frozenset({STEP_SLOT, "exp_avg", "exp_avg_sq"})
        case "sgd":
            return momentum
        case "rmsprop":
            return frozenset({STEP_SLOT, "square_avg"}) | momentum


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """Return what the optimizer remembers, by parameter name and slot, not copied.

    Raises:
        TrainingError: a task's own optimizer remembers something that is no tensor.
    """
    found: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        slots: Mapping[str, Any] = optimizer.state.get(parameter, {})
        for slot, value in slots.items():
            if isinstance(value, Tensor):
                found[f"{name}.{slot}"] = value
            elif value is not None:
                raise TrainingError(f"the optimizer's {slot} of {name} is no tensor and cannot be saved")
    return found


def slot_problems(
    found: Layout, parameters: Mapping[str, nn.Parameter], slots: frozenset[str] | None
) -> list[str]:
    """Return what keeps an optimizer's tensors from being loaded.

    A parameter has all of its ``slots`` or none (it had no gradient yet); None: a task's own optimizer, whose
    slots are not known.
    """
    problems: list[str] = []
    by_parameter: dict[str, set[str]] = {}
    for key, (shape, _) in found.items():
        name, _, slot = key.rpartition(".")
        if name not in parameters:
            problems.append(f"optimizer.{key} is of no parameter")
            continue
        by_parameter.setdefault(name, set()).add(slot)
        wanted = torch.Size() if slot == STEP_SLOT else parameters[name].shape
        if slots is not None and shape != wanted:
            problems.append(f"optimizer.{key} is {tuple(shape)}, not {tuple(wanted)}")
    for name, has in by_parameter.items():
        expected = has if slots is None else slots
        problems += [f"optimizer.{name}.{slot} is missing" for slot in sorted(expected - has)]
        problems += [f"optimizer.{name}.{slot} is unknown" for slot in sorted(has - expected)]
    return problems
