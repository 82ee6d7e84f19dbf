"""Handwritten digits, eight by eight pixels: a team's own training, with nothing of finance in it."""

from importlib.metadata import version
from typing import Annotated, Literal

import torch
from milepost_contracts.model import ContractModel
from milepost_trainer.engine.keyed_random import uniform
from milepost_trainer.engine.parts import TrainingParts
from milepost_trainer.samples import TensorSamples
from milepost_trainer.task import BuiltTask, TaskContext, seeded
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

SIDE_PIXELS = 8


class DigitsParameters(ContractModel):
    """What a spec may choose."""

    model: Literal["perceptron", "convolution"] = "convolution"
    """The model's family."""
    width: Annotated[int, Field(ge=1, le=1024)] = 16
    """Channels of the convolution, a sixteenth of the perceptron's hidden values."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of hidden values left out at random while training."""
    shift_pixels: Annotated[int, Field(ge=0, le=3)] = 1
    """Training images are moved by up to so many pixels, to each side and up or down."""


class DigitsTask:
    """Implements ``TrainingTask``."""

    name = "digits"
    version = "1"
    parameters = DigitsParameters

    def build(self, context: TaskContext[DigitsParameters]) -> BuiltTask:
        """Return images, model, loss and accuracy."""
        parameters = context.parameters
        with seeded(context.seed):
            model = _model(parameters)
        parts = TrainingParts(
            model=model,
            data=_images(),
            loss=cross_entropy,
            metrics={"accuracy": _accuracy},
            augment=_Shift(parameters.shift_pixels) if parameters.shift_pixels else None,
        )
        return BuiltTask(
            parts,
            card={"architecture": parameters.model_dump(mode="json"), "classes": list(range(10))},
            versions={"scikit-learn": version("scikit-learn")},
        )


def _model(parameters: DigitsParameters) -> nn.Module:
    width = parameters.width
    if parameters.model == "perceptron":
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(SIDE_PIXELS**2, 16 * width),
            nn.ReLU(),
            nn.Dropout(parameters.dropout),
            nn.Linear(16 * width, 10),
        )
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(parameters.dropout),
        nn.Linear(2 * width * (SIDE_PIXELS // 2) ** 2, 10),
    )


def _images() -> TensorSamples:
    """Return the images in an order of their own, the same for every seed, in shares of 70, 15 and 15 percent."""
    # Here and not above: every worker of trainings imports this module, few build this task.
    from sklearn.datasets import load_digits  # noqa: PLC0415

    pixels, digits = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, SIDE_PIXELS, SIDE_PIXELS) / 16
    targets = torch.tensor(digits)
    with seeded(0, "split of the digits"):
        order = torch.randperm(len(images))
    first, second = len(order) * 70 // 100, len(order) * 85 // 100
    train, validation, test = order[:first], order[first:second], order[second:]
    return TensorSamples(
        train=(images[train], targets[train]),
        validation=(images[validation], targets[validation]),
        test=(images[test], targets[test]),
    )


def _accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) == targets).float().mean()


class _Shift:
    """Moves each image by whole pixels; how far follows from the sample's key, so a resumed run does the same."""

    def __init__(self, pixels_max: int) -> None:
        self._pixels_max = pixels_max

    def __call__(self, images: Tensor, keys: Tensor) -> Tensor:
        choices = 2 * self._pixels_max + 1
        moves = (uniform(keys, 2) * choices).long()
        within = torch.arange(SIDE_PIXELS)
        rows = (moves[:, :1] + within)[:, None, :, None]
        columns = (moves[:, 1:] + within)[:, None, None, :]
        samples = torch.arange(len(images))[:, None, None, None]
        around = pad(images, (self._pixels_max,) * 4)
        return around[samples, 0, rows, columns]
