"""Loss and metrics of a model over one part of the data."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from milepost_trainer.bars.windows import WindowedData
from milepost_trainer.engine.settings import Task

EVALUATION_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of one part."""

    loss: float
    score: float
    """Share of right directions (classification) or mean absolute error (regression)."""
    samples: int


SCORE_NAMES: dict[Task, str] = {"classification": "accuracy", "regression": "mean_absolute_error"}


def loss_of(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of a batch: cross entropy of a logit, or the mean squared error."""
    if task == "classification":
        return functional.binary_cross_entropy_with_logits(outputs, targets)
    return functional.mse_loss(outputs, targets)


def evaluate(model: nn.Module, data: WindowedData, indices: Tensor, task: Task) -> Evaluation:
    """Return the figures over these samples; the model is left in the mode it was in."""
    training = model.training
    model.eval()
    try:
        return _evaluated(model, data, indices, task)
    finally:
        model.train(training)


def _evaluated(model: nn.Module, data: WindowedData, indices: Tensor, task: Task) -> Evaluation:
    loss, score = 0.0, 0.0
    with torch.no_grad():
        for start in range(0, len(indices), EVALUATION_BATCH):
            part = indices[start : start + EVALUATION_BATCH]
            inputs, targets = data.batch(part)
            outputs = model(inputs)
            loss += float(loss_of(task, outputs, targets)) * len(part)
            if task == "classification":
                score += float(((outputs > 0) == (targets > 0.5)).sum())
            else:
                score += float((outputs - targets).abs().sum(dtype=torch.float64))
    return Evaluation(loss / len(indices), score / len(indices), len(indices))
