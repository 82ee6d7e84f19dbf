"""Loss and metrics of a model over one part of the data."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from milepost_trainer.engine.parts import Part, TrainingParts
from milepost_trainer.engine.precision import computing_in
from milepost_trainer.engine.settings import TrainingSettings

EVALUATION_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of one part."""

    loss: float
    metrics: Mapping[str, float]
    samples: int


def evaluate(model: nn.Module, parts: TrainingParts, part: Part, settings: TrainingSettings) -> Evaluation:
    """Return the means over all samples of a part; the model is left in the mode it was in."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), computing_in(settings.precision, settings.device):
            return _evaluated(model, parts, part, settings.device)
    finally:
        model.train(training)


def _evaluated(model: nn.Module, parts: TrainingParts, part: Part, device: str) -> Evaluation:
    count = parts.data.count(part)
    loss, sums = 0.0, dict.fromkeys(parts.metrics, 0.0)
    for start in range(0, count, EVALUATION_BATCH):
        samples = torch.arange(start, min(start + EVALUATION_BATCH, count))
        inputs, targets = (tensor.to(device) for tensor in parts.data.batch(part, samples))
        outputs = model(inputs)
        loss += float(parts.loss(outputs, targets)) * len(samples)
        for name, metric in parts.metrics.items():
            sums[name] += float(metric(outputs, targets)) * len(samples)
    return Evaluation(loss / count, {name: total / count for name, total in sums.items()}, count)
