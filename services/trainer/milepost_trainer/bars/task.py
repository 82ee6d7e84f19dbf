"""The training task ``bars``: registered like any team's own."""

from milepost_contracts.model import JsonObject
from milepost_contracts.specs.bars_training import BarsTaskParameters

from milepost_trainer.bars.bar_files import load_bars
from milepost_trainer.bars.losses import loss_of, metrics_of
from milepost_trainer.bars.models import ModelSettings, build_model
from milepost_trainer.bars.preparation import Scaling, prepare
from milepost_trainer.engine.parts import TrainingParts
from milepost_trainer.task import BuiltTask, TaskContext


class BarsTask:
    """Implements ``TrainingTask``."""

    name = "bars"
    version = "1"
    parameters = BarsTaskParameters

    def build(self, context: TaskContext[BarsTaskParameters]) -> BuiltTask:
        """Return samples, model, loss and metrics; every problem of the data is named."""
        parameters = context.parameters
        if len(context.inputs) != 1:
            raise ValueError("spec.data: the task bars needs one dataset")
        prepared = prepare(load_bars(context.inputs[0]), parameters)
        model = build_model(
            ModelSettings(**parameters.model.model_dump()),
            features=len(prepared.scaling.features),
            window=parameters.window,
            seed=context.seed,
        )
        parts = TrainingParts(model, prepared.data, loss=loss_of(parameters), metrics=metrics_of(parameters))
        return BuiltTask(parts, card=_card(parameters, prepared.scaling))


def _card(parameters: BarsTaskParameters, scaling: Scaling) -> JsonObject:
    content = parameters.model_dump(mode="json")
    return {
        "architecture": content["model"],
        "window": parameters.window,
        "features": content["features"],
        "scaling": scaling.as_json(),
        "label": {"name": parameters.label, "horizon": parameters.horizon},
    }
