"""A spec in the engine's own words."""

from milepost_contracts.specs.training import TrainingSpec

from milepost_trainer.bars.models import ModelSettings
from milepost_trainer.engine.settings import (
    OptimizerSettings,
    ScheduleSettings,
    Task,
    TrainingSettings,
)


def task_of(spec: TrainingSpec) -> Task:
    """Return what the label makes of the training."""
    return "classification" if spec.label == "direction" else "regression"


def model_settings(spec: TrainingSpec) -> ModelSettings:
    """Return family and size of the model."""
    return ModelSettings(**spec.model.model_dump())


def training_settings(spec: TrainingSpec) -> TrainingSettings:
    """Return everything that decides how the weights change."""
    stopping = spec.early_stopping
    return TrainingSettings(
        task=task_of(spec),
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        accumulation=spec.accumulation,
        gradient_clip=spec.gradient_clip,
        seed=spec.seed,
        optimizer=OptimizerSettings(**spec.optimizer.model_dump()),
        schedule=ScheduleSettings(**spec.scheduler.model_dump()),
        patience=stopping.patience if stopping else None,
        minimum_improvement=stopping.minimum_improvement if stopping else 0.0,
        unit=spec.unit,
        threads=spec.threads,
    )
