"""Where a training computes; nothing needs a GPU.

On CUDA the deterministic mode wants ``CUBLAS_WORKSPACE_CONFIG`` in the environment before the process first
uses cuBLAS (see ``DETERMINISTIC_ENVIRONMENT``; cuBLAS documentation, Results Reproducibility). Without it
torch refuses matrix products there by name.
"""

from typing import Literal

import torch

DETERMINISTIC_ENVIRONMENT = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""What a process that trains on CUDA should be started with."""


def resolve_device(wanted: Literal["auto", "cpu", "cuda", "mps"]) -> str:
    """Return the device to train on; ``auto`` takes what there is.

    Raises:
        ValueError: the wanted one is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, is_there in there.items() if is_there)
    if not there[wanted]:
        raise ValueError(f"this machine has no device {wanted}; take auto or cpu")
    return wanted
