"""How the engine's rules are compiled: numba, ahead of their first use, and kept on disk.

numba looks only at the file of the function that is called from Python; what that function calls may lie in other
files. So the directory of the cache is named by a digest of all files with rules: a change in any of them compiles
anew. No fastmath: nothing is contracted, reordered or assumed, so each operation rounds once, as in Python.
"""

import os
import pkgutil
from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeVar, cast

import numba
from numba.core import config as numba_config

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

RULE_FILES = ("layouts.py", "costs.py", "lots.py", "matching.py", "margin.py", "decisions.py", "kernel.py")


def _cache_directory() -> str:
    digest = sha256()
    for name in RULE_FILES:
        digest.update(pkgutil.get_data("milepost_backtester.engine", name) or b"")
    return os.path.join(os.path.dirname(__file__), "__pycache__", f"rules-{digest.hexdigest()[:16]}")


CACHE_DIRECTORY = _cache_directory()


def compiled(function: FunctionT) -> FunctionT:
    """Compile a function at its first call, or take it from the disk; its module must be importable."""
    config: Any = numba_config
    before = config.CACHE_DIR
    config.CACHE_DIR = CACHE_DIRECTORY
    try:
        return cast("FunctionT", numba.njit(cache=True, error_model="numpy", nogil=True)(function))
    finally:
        config.CACHE_DIR = before
