"""Where a training is computed: everything around it that changed the last bits in trials.

On one machine each of these gave other weights after forty steps, for perceptron, recurrent, convolutional and
attention models alike or for some of them: ``ATEN_CPU_CAPABILITY`` (torch's own kernels), ``MKL_CBWR``,
``MKL_ENABLE_INSTRUCTIONS`` and ``ONEDNN_MAX_CPU_ISA`` (the libraries choose by the processor, not by torch's
setting, so its instruction sets are named too). So did the number of threads, which is part of the spec.
"""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import cast

import torch

_INSTRUCTION_SETS = ("amx", "avx", "f16c", "fma", "neon", "sme", "sse4", "sve")
"""What names of instruction sets for floating point begin with; cache sizes and the like are left out."""
_VARIABLES = {
    "cpu": (
        "DNNL_MAX_CPU_ISA",
        "MKL_CBWR",
        "MKL_ENABLE_INSTRUCTIONS",
        "ONEDNN_DEFAULT_FPMATH_MODE",
        "ONEDNN_MAX_CPU_ISA",
    ),
    "cuda": ("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
    "mps": ("PYTORCH_MPS_FAST_MATH", "PYTORCH_MPS_PREFER_METAL"),
}
"""Variables by which the libraries of a device choose their kernels."""


def environment_of(
    device: str, *, variables: Mapping[str, str] = os.environ, versions: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return versions, device, processor and settings by name.

    ``device`` is the resolved one (``cpu``, ``cuda:1``, ``mps``); ``versions`` are those of further libraries.
    """
    kind = torch.device(device).type
    return {
        # First, so that what is found here stays true whatever a task calls its libraries.
        **dict(versions or {}),
        "torch": torch.__version__,
        "default_dtype": str(torch.get_default_dtype()),
        "python": ".".join(platform.python_version_tuple()[:2]),
        # The engine's cosine schedule is computed by the system's mathematics library.
        "libc": " ".join(platform.libc_ver()).strip() or platform.platform(),
        **{name: version(name) for name in ("numpy", "pyarrow")},
        "device": _device_words(device),
        "matmul_precision": torch.get_float32_matmul_precision(),
        **_processor(),
        **(_cuda() if kind == "cuda" else {}),
        **{name: variables[name] for names in _kinds(kind) for name in names if name in variables},
    }


def _kinds(kind: str) -> tuple[tuple[str, ...], ...]:
    """The CPU takes part on every device: features, order, and what a device lacks."""
    return tuple(_VARIABLES[name] for name in dict.fromkeys(("cpu", kind)) if name in _VARIABLES)


def _device_words(device: str) -> str:
    if torch.device(device).type != "cuda":
        return torch.device(device).type
    major, minor = torch.cuda.get_device_capability(device)
    return f"cuda {torch.cuda.get_device_name(device)} ({major}.{minor})"


def _processor() -> dict[str, str]:
    found = cast("dict[str, object]", torch.cpu.get_capabilities())
    sets = sorted(name for name, has in found.items() if has is True and name.startswith(_INSTRUCTION_SETS))
    return {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_instructions": " ".join((platform.machine(), *sets)),
        "mkl": str(torch.backends.mkl.is_available()),
        "mkldnn": str(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled),
    }


def _cuda() -> dict[str, str]:
    cudnn = torch.backends.cudnn
    return {
        "cuda": str(torch.version.cuda),
        "cudnn": str(cudnn.version()),
        "cudnn_benchmark": str(cudnn.benchmark),
        "cudnn_allow_tf32": str(cudnn.allow_tf32),
        "cuda_allow_tf32": str(torch.backends.cuda.matmul.allow_tf32),
        "cuda_reduced_precision": str(torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction),
        "cuda_reduced_float16": str(torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction),
    }
