"""What this machine has that an operation may need; found out without the heavy imports of computing."""

import os
from collections.abc import Mapping
from pathlib import Path

from milepost_contracts.capabilities import Capabilities

DEVICES = Path("/dev")


def capabilities_of(environment: Mapping[str, str], devices: Path = DEVICES) -> Capabilities:
    """Return MILEPOST_WORKER_GPUS, _MEMORY_GB and _LABELS (commas between), the machine's own where not given.

    Raises:
        ValueError: one of them makes no sense.
    """
    gpus = environment.get("MILEPOST_WORKER_GPUS", "")
    memory_gb = environment.get("MILEPOST_WORKER_MEMORY_GB", "")
    labels = environment.get("MILEPOST_WORKER_LABELS", "")
    return Capabilities(
        gpus=int(gpus) if gpus else _gpus(devices),
        memory_bytes=int(float(memory_gb) * 1e9) if memory_gb else _memory_bytes(),
        labels=tuple(label.strip() for label in labels.split(",") if label.strip()),
    )


def _gpus(devices: Path) -> int:
    """Count the GPUs of NVIDIA by their device files."""
    return sum(1 for device in devices.glob("nvidia[0-9]*") if device.name.removeprefix("nvidia").isdigit())


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):  # not every system says
        return 0
