"""Pin the trained model of a backtest's strategy, and check the strategy's thresholds against it."""

from dataclasses import dataclass

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.failures import Problem
from milepost_contracts.model import JsonObject
from milepost_contracts.specs.model_strategy import ModelParameters, misfits, with_thresholds
from milepost_contracts.trained_models import ModelReference
from pydantic import JsonValue, ValidationError

from milepost_orchestrator.application.trained_models import PinnedModel, TrainedModels, UnusableModelError

STRATEGY = "model"
PATH = "spec.strategy.parameters"


@dataclass(frozen=True, slots=True)
class PinnedStrategy:
    """A spec whose model is pinned, or why it cannot be."""

    spec: JsonObject
    inputs: tuple[ArtifactReference, ...] = ()
    problems: tuple[Problem, ...] = ()


class ModelPinning:
    """Pins models by what trainings left."""

    def __init__(self, models: TrainedModels) -> None:
        self._models = models

    async def pin(self, spec: JsonObject) -> PinnedStrategy:
        """Return the spec with its model by digest and every threshold; one without a model as it is.

        Parameters that are wrong in themselves are left to their own check.

        Raises:
            BusUnavailableError, DatabaseUnavailableError, StoreUnavailableError: safe to repeat.
        """
        strategy = spec.get("strategy")
        if not isinstance(strategy, dict) or strategy.get("name") != STRATEGY:
            return PinnedStrategy(spec)
        given = strategy.get("parameters")
        content: JsonObject = given if isinstance(given, dict) else {}
        try:
            reference = ModelReference.model_validate(content.get("model"))
        except ValidationError:
            return PinnedStrategy(spec)
        try:
            pinned = await self._models.pin(reference)
        except UnusableModelError as error:
            return PinnedStrategy(spec, problems=(Problem(field=f"{PATH}.model", message=str(error)),))
        return _fitted(spec, strategy, content, pinned)


def _fitted(
    spec: JsonObject, strategy: JsonObject, content: JsonObject, pinned: PinnedModel
) -> PinnedStrategy:
    problems = _unscaled(spec.get("data"), pinned)
    try:
        parameters = ModelParameters.model_validate(content)
    except ValidationError:
        return PinnedStrategy(spec, problems=problems)
    classes = pinned.card.classes
    found = misfits(parameters, classes)
    problems += tuple(Problem(field=f"{PATH}.{each.field}", message=each.message) for each in found)
    if problems:
        return PinnedStrategy(spec, problems=problems)
    filled = with_thresholds(parameters, classes).model_copy(update={"model": pinned.reference})
    changed: JsonObject = {**strategy, "parameters": filled.model_dump(mode="json")}
    return PinnedStrategy({**spec, "strategy": changed}, pinned.inputs)


def _unscaled(data: JsonValue, pinned: PinnedModel) -> tuple[Problem, ...]:
    """Return a problem when each symbol has a scaling of its own and this one has none."""
    known = pinned.card.scaling.symbols
    name = data.get("name") if isinstance(data, dict) else None
    if not known or name in known:
        return ()
    words = (
        f"the model was trained with a scaling for each of {', '.join(sorted(known))}, and none for {name}"
    )
    return (Problem(field=f"{PATH}.model", message=words),)
