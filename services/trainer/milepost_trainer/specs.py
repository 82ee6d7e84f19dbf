"""A spec in the engine's own words."""

from milepost_contracts.specs.training import TrainingSpec

from milepost_trainer.engine.settings import OptimizerSettings, ScheduleSettings, TrainingSettings


def training_settings(spec: TrainingSpec, *, device: str) -> TrainingSettings:
    """Return everything that decides how the weights change."""
    stopping = spec.early_stopping
    return TrainingSettings(
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        accumulation=spec.accumulation,
        gradient_clip=spec.gradient_clip,
        seed=spec.seed,
        optimizer=OptimizerSettings(**spec.optimizer.model_dump()),
        schedule=ScheduleSettings(**spec.scheduler.model_dump()),
        patience=stopping.patience if stopping else None,
        minimum_improvement=stopping.minimum_improvement if stopping else 0.0,
        averaging_decay=spec.averaging.decay if spec.averaging else None,
        precision=spec.precision,
        device=device,
        compile=spec.compile,
        unit=spec.checkpoint.unit,
        threads=spec.threads,
        deterministic=spec.deterministic,
    )
