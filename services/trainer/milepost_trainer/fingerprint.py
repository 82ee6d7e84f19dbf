"""What must be equal for a resumed training to be exact."""

from importlib.metadata import version

import torch
from milepost_contracts.specs.training import TrainingSpec
from milepost_runtime.digests import canonical_json

from milepost_trainer.engine.trainer import ENGINE_VERSION, STATE_SCHEMA_VERSION


def fingerprint_of(spec: TrainingSpec, *, task_version: str, device: str) -> dict[str, str]:
    """Return the versions, the settings of torch, the data's digest, and each field of the spec by its name.

    The name of the data does not matter, its digest does.
    """
    content = spec.model_dump(mode="json", exclude={"data"})
    return {
        "engine": ENGINE_VERSION,
        "state_schema": STATE_SCHEMA_VERSION,
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "pyarrow": version("pyarrow"),
        "task": f"{spec.task.name} {task_version}",
        "device": device,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "mkl": str(torch.backends.mkl.is_available()),
        "mkldnn": str(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled),
        "data": " ".join(reference.digest or "" for reference in spec.datasets),
        **{f"spec.{name}": canonical_json(value).decode() for name, value in content.items()},
    }


def differences(saved: dict[str, str], present: dict[str, str]) -> list[str]:
    """Return every difference in words."""
    return [
        f"{name} was {saved.get(name)!r} and is {present.get(name)!r}"
        for name in sorted(saved.keys() | present.keys())
        if saved.get(name) != present.get(name)
    ]
