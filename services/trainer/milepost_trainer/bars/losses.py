"""Losses and metrics of the label: directions are classified, returns are regressed."""

from collections.abc import Mapping

import torch
from milepost_contracts.specs.bars_training import BarsTaskParameters
from torch import Tensor
from torch.nn import functional

from milepost_trainer.engine.parts import Loss, Metric


def loss_of(parameters: BarsTaskParameters) -> Loss:
    """Return the mean loss of a batch: cross entropy of a logit, or the mean squared error."""
    if parameters.label == "direction":
        return functional.binary_cross_entropy_with_logits
    return functional.mse_loss


def metrics_of(parameters: BarsTaskParameters) -> Mapping[str, Metric]:
    """Return the figures by name."""
    if parameters.label == "direction":
        return {"accuracy": accuracy}
    return {"mean_absolute_error": mean_absolute_error}


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of right directions."""
    return ((outputs > 0) == (targets > 0.5)).to(torch.float64).mean()


def mean_absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of |output - target|."""
    return (outputs - targets).abs().to(torch.float64).mean()
