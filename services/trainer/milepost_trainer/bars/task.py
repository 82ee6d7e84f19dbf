"""The training task ``bars``: registered like any team's own."""

from milepost_contracts.specs.bars_training import AugmentationSpec, BarsTaskParameters
from milepost_contracts.trained_models import MODEL_TASK
from milepost_models.bar_files import load_bars
from milepost_models.card import TASK_VERSION, card_of
from milepost_models.families import model_of
from milepost_models.features import data_versions
from torch import Tensor

from milepost_trainer.bars.losses import loss_of, metrics_of
from milepost_trainer.bars.preparation import prepare
from milepost_trainer.engine.keyed_random import normal
from milepost_trainer.engine.parts import Augment, TrainingParts
from milepost_trainer.task import BuiltTask, TaskContext, seeded


class BarsTask:
    """Implements ``TrainingTask``."""

    name = MODEL_TASK
    version = TASK_VERSION
    parameters = BarsTaskParameters

    def build(self, context: TaskContext[BarsTaskParameters]) -> BuiltTask:
        """Return samples, model, loss and metrics; every problem of the data is named."""
        parameters = context.parameters
        if not context.inputs:
            raise ValueError("spec.data: the task bars needs a dataset, or one for each symbol")
        if min(len(set(context.names)), len(set(context.inputs))) < len(context.inputs):
            raise ValueError(f"spec.data: a dataset is given twice: {', '.join(context.names)}")
        symbols = [(name, load_bars(path)) for name, path in zip(context.names, context.inputs, strict=True)]
        prepared = prepare(symbols, parameters)
        with seeded(context.seed):
            model = model_of(parameters, features=len(prepared.scaling.features))
        parts = TrainingParts(
            model,
            prepared.data,
            loss=loss_of(parameters, prepared.class_counts),
            metrics=metrics_of(parameters),
            augment=augmentation_of(parameters.augmentation),
        )
        return BuiltTask(parts, card=card_of(parameters, prepared.scaling), versions=data_versions())


def augmentation_of(spec: AugmentationSpec | None) -> Augment | None:
    """Return what adds noise to scaled windows; it follows from each sample's key alone."""
    if spec is None:
        return None
    deviation = spec.noise

    def with_noise(inputs: Tensor, keys: Tensor) -> Tensor:
        noise = normal(keys, inputs[0].numel()).view(inputs.shape)
        return inputs + deviation * noise.to(inputs.device)

    return with_noise
