"""The training task ``bars``: registered like any team's own."""

from milepost_contracts.model import JsonObject
from milepost_contracts.specs.bars_training import AugmentationSpec, BarsTaskParameters
from torch import Tensor, nn

from milepost_trainer.bars.bar_files import load_bars
from milepost_trainer.bars.features import data_versions
from milepost_trainer.bars.losses import loss_of, metrics_of
from milepost_trainer.bars.models import ModelSettings, build_model
from milepost_trainer.bars.preparation import prepare
from milepost_trainer.bars.scaling import Scaling
from milepost_trainer.engine.keyed_random import normal
from milepost_trainer.engine.parts import Augment, TrainingParts
from milepost_trainer.task import BuiltTask, TaskContext

TASK_VERSION = "1"


class BarsTask:
    """Implements ``TrainingTask``."""

    name = "bars"
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
        model = model_of(parameters, features=len(prepared.scaling.features), seed=context.seed)
        parts = TrainingParts(
            model,
            prepared.data,
            loss=loss_of(parameters, prepared.class_counts),
            metrics=metrics_of(parameters),
            augment=augmentation_of(parameters.augmentation),
        )
        return BuiltTask(parts, card=card_of(parameters, prepared.scaling), versions=data_versions())


def model_of(parameters: BarsTaskParameters, *, features: int, seed: int) -> nn.Module:
    """Return the model; one logit tells two classes apart, more have one each."""
    classes = len(parameters.label.classes)
    return build_model(
        ModelSettings(**parameters.model.model_dump()),
        features=features,
        window=parameters.window,
        seed=seed,
        outputs=classes if classes > 2 else 1,
    )


def augmentation_of(spec: AugmentationSpec | None) -> Augment | None:
    """Return what adds noise to scaled windows; it follows from each sample's key alone."""
    if spec is None:
        return None
    deviation = spec.noise

    def with_noise(inputs: Tensor, keys: Tensor) -> Tensor:
        noise = normal(keys, inputs[0].numel()).view(inputs.shape)
        return inputs + deviation * noise.to(inputs.device)

    return with_noise


def card_of(parameters: BarsTaskParameters, scaling: Scaling) -> JsonObject:
    """Return what inference needs beside the weights; see ``inference``."""
    return {
        "task_version": TASK_VERSION,
        "parameters": parameters.model_dump(mode="json"),
        "classes": list(parameters.label.classes),
        "scaling": scaling.as_json(),
        "data_versions": {**data_versions()},
    }
