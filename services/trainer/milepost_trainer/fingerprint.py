"""What must be equal for a resumed training to be exact."""

from collections.abc import Mapping

from milepost_contracts.specs.training import TrainingSpec
from milepost_models.environment import environment_of
from milepost_runtime.digests import canonical_json
from milepost_runtime.fingerprints import environment_entries

from milepost_trainer.engine.trainer import ENGINE_VERSION, STATE_SCHEMA_VERSION


def fingerprint_of(
    spec: TrainingSpec, *, task_version: str, device: str, versions: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return each field of the spec by its name, the data's digest, and the environment.

    The name of the data does not matter, its digest does. ``device`` is the resolved one, ``versions`` are of
    libraries that the task builds on.
    """
    content = spec.model_dump(mode="json", exclude={"data"})
    return {
        "engine": ENGINE_VERSION,
        "state_schema": STATE_SCHEMA_VERSION,
        "task": f"{spec.task.name} {task_version}",
        "data": " ".join(reference.digest or "" for reference in spec.datasets),
        **{f"spec.{name}": canonical_json(value).decode() for name, value in content.items()},
        **environment_entries(environment_of(device, versions=versions)),
    }
