"""Losses and metrics of the label: classes are told apart by cross entropy, returns are regressed.

Outputs are one logit for each sample when there are two classes, one for each class when there are more, and one
number for a return. Every loss is a mean over samples, weighted or not, so that parts of a batch add up.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from milepost_contracts.specs.bars_losses import (
    AbsoluteErrorLoss,
    ClassWeights,
    CrossEntropyLoss,
    FocalLoss,
    HuberLoss,
    LossSpec,
    SquaredErrorLoss,
)
from milepost_contracts.specs.bars_training import BarsTaskParameters
from torch import Tensor
from torch.nn import functional

from milepost_trainer.engine.parts import Loss, Metric

SMALLEST_MISS = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class ClassificationLoss:
    """Cross entropy times the class's weight times (1 - p)^gamma, p the probability of the right class."""

    weights: Tensor | None = None
    """One for each class."""
    gamma: float = 0.0

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the samples."""
        found = entropies(outputs, targets)
        if self.gamma:
            # -expm1(-entropy) is 1 - p without cancellation; at 0 a root has no slope.
            found = found * (-torch.expm1(-found)).clamp_min(SMALLEST_MISS) ** self.gamma
        if self.weights is not None:
            found = found * self.weights.to(targets.device)[targets.long()]
        return found.mean()


def loss_of(parameters: BarsTaskParameters, class_counts: Tensor | None = None) -> Loss:
    """Return the mean loss of a batch.

    ``class_counts`` are those of the training part, for balanced weights.
    """
    match parameters.loss or _usual(parameters):
        case CrossEntropyLoss(class_weights=weights):
            return ClassificationLoss(_weights(weights, class_counts))
        case FocalLoss(gamma=gamma, class_weights=weights):
            return ClassificationLoss(_weights(weights, class_counts), gamma)
        case SquaredErrorLoss():
            return functional.mse_loss
        case AbsoluteErrorLoss():
            return functional.l1_loss
        case HuberLoss(delta=delta):
            return lambda outputs, targets: functional.huber_loss(outputs, targets, delta=delta)


def metrics_of(parameters: BarsTaskParameters) -> Mapping[str, Metric]:
    """Return the figures by name."""
    if parameters.label.classes:
        return {"accuracy": accuracy}
    return {"mean_absolute_error": mean_absolute_error}


def entropies(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross entropy of each sample, in float32 whatever the outputs were computed in."""
    outputs = outputs.float()
    if outputs.ndim == 1:
        return functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
    return functional.cross_entropy(outputs, targets, reduction="none")


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of right classes."""
    chosen = outputs > 0 if outputs.ndim == 1 else outputs.argmax(dim=1)
    # In float64, which not every device has.
    return (chosen.long() == targets.long()).cpu().to(torch.float64).mean()


def mean_absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of |output - target|, in deviations of the training part's returns."""
    return (outputs - targets).abs().cpu().to(torch.float64).mean()


def _usual(parameters: BarsTaskParameters) -> LossSpec:
    return CrossEntropyLoss() if parameters.label.classes else SquaredErrorLoss()


def _weights(spec: ClassWeights | None, counts: Tensor | None) -> Tensor | None:
    if spec is None:
        return None
    if spec != "balanced":
        return torch.tensor(spec, dtype=torch.float32)
    if counts is None:
        raise ValueError("balanced class weights need the counts of the classes")
    # The mean weight over the training samples is 1, so losses with weights and without are of one size.
    return (counts.sum() / (len(counts) * counts)).to(torch.float32)
