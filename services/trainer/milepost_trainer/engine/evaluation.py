"""Loss and metrics of a model over one part of the data."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from milepost_trainer.engine.parts import Part, TrainingParts

EVALUATION_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of one part."""

    loss: float
    metrics: Mapping[str, float]
    samples: int


def evaluate(model: nn.Module, parts: TrainingParts, part: Part) -> Evaluation:
    """Return the means over all samples of a part; the model is left in the mode it was in."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return _evaluated(model, parts, part)
    finally:
        model.train(training)


def _evaluated(model: nn.Module, parts: TrainingParts, part: Part) -> Evaluation:
    count = parts.data.count(part)
    loss, sums = 0.0, dict.fromkeys(parts.metrics, 0.0)
    for start in range(0, count, EVALUATION_BATCH):
        samples = torch.arange(start, min(start + EVALUATION_BATCH, count))
        inputs, targets = parts.data.batch(part, samples)
        outputs = model(inputs)
        loss += float(parts.loss(outputs, targets)) * len(samples)
        for name, metric in parts.metrics.items():
            sums[name] += float(metric(outputs, targets)) * len(samples)
    return Evaluation(loss / count, {name: total / count for name, total in sums.items()}, count)
