"""Models as trainings begin with them."""

from milepost_models.families import ModelSettings, build_model
from milepost_trainer.task import seeded
from torch import nn


def initial_model(
    settings: ModelSettings, *, features: int, window: int, seed: int, outputs: int = 1
) -> nn.Module:
    """A model whose initial weights follow from the seed."""
    with seeded(seed):
        return build_model(settings, features=features, window=window, outputs=outputs)
