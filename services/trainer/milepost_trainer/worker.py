"""The kind ``training``, as workers find it by entry point; cheap to import, torch comes with the job."""

import os
from importlib import import_module

from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_contracts.kinds import KindDescription
from milepost_contracts.specs.training import CHANGEABLE, TrainingSpec
from milepost_runtime.worker.kind import Job, JobContext

from milepost_trainer.write_pace import WriteSettings


class TrainingKind:
    """Implements ``WorkerKind``; the unit is an epoch."""

    name = "training"
    default_checkpoint_policy = CheckpointPolicySpec(every_units=10, every_seconds=300.0)
    """Whatever comes first: slow epochs must not cost hours when a machine is lost."""
    preload = ("torch._dynamo", "torch._inductor.config", "milepost_trainer.job", "milepost_trainer.results")
    """The first two come with the first optimizer step and the deterministic mode, and take a second."""

    def describe(self) -> KindDescription:
        """Return the schema of specs, and of each task's parameters."""
        tasks = import_module("milepost_trainer.tasks").load_tasks()
        return KindDescription(
            kind=self.name,
            unit_name="epoch",
            spec_schema=TrainingSpec.model_json_schema(),
            parts={"task": {name: task.parameters.model_json_schema() for name, task in tasks.items()}},
            dataset_fields=("data",),
            changeable=CHANGEABLE,
            example={
                "data": {"name": "aapl"},
                "task": {
                    "name": "bars",
                    "parameters": {
                        "label": {"name": "direction", "horizon": 5},
                        "model": {"family": "lstm", "hidden_size": 64, "layers": 2},
                    },
                },
                "optimizer": {"name": "adamw", "learning_rate": 0.001},
                "scheduler": {"name": "cosine"},
                "early_stopping": {"patience": 20},
                "epochs": 100,
            },
        )

    def warm_up(self) -> None:
        """Import torch ahead of the first operation, and what its deterministic mode imports (over a second)."""
        # Before anything uses CUDA, for only then cuBLAS looks at it.
        for name, value in import_module("milepost_trainer.engine.devices").DETERMINISTIC_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import_module("milepost_trainer.job")
        surroundings = import_module("milepost_trainer.engine.surroundings").Surroundings
        with surroundings(seed=0, threads=1, deterministic=True).entered():
            pass

    def create_job(self, context: JobContext) -> Job:
        """Build the job; a ValueError names everything that is unusable."""
        from milepost_trainer.job import create_training_job  # noqa: PLC0415 - the host must not load it

        return create_training_job(context, WriteSettings.from_environment(os.environ))
