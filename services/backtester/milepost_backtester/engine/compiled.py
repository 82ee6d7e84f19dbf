"""Functions for compiled code: written in Python, compiled by numba when they are needed first.

numba takes longer to import than most backtests take, so nothing here imports it: what was compiled for an entry
(``native``) is loaded without it. numba keeps what it compiles on disk too, but looks only at the file of the
function that is called; what that function calls may lie in other files. So the directory is named by a digest
of all files with rules, and one within it by a digest of the function with all that it calls. No fastmath: nothing
is contracted, reordered or assumed, so each operation rounds once, as in Python.
"""

import os
import pkgutil
from collections.abc import Callable
from functools import cache, cached_property, update_wrapper
from hashlib import sha256
from importlib import import_module
from typing import Any, TypeVar, cast

from milepost_backtester.engine.errors import CompiledCodeError

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

RULE_FILES = (
    "layouts.py",
    "frame.py",
    "costs.py",
    "lots.py",
    "matching.py",
    "margin.py",
    "decisions.py",
    "desk.py",
    "kernel.py",
    "machine.py",
)


def _digest_of_rules() -> str:
    digest = sha256()
    for name in RULE_FILES:
        digest.update(pkgutil.get_data("milepost_backtester.engine", name) or b"")
    return digest.hexdigest()


DIGEST_OF_RULES = _digest_of_rules()
CACHE_DIRECTORY = os.path.join(os.path.dirname(__file__), "__pycache__", f"rules-{DIGEST_OF_RULES[:16]}")


class Compiled:
    """A function that compiled code may call. Called from Python it is compiled for those arguments."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.py_func = function
        """The same in plain Python."""
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        """Compile for arguments of these types, or load what was, and call it."""
        return self.target(*arguments)

    @cached_property
    def target(self) -> Any:
        """What numba calls it."""
        numba = numba_that_knows()
        config: Any = import_module("numba.core.config")
        content = import_module("milepost_backtester.engine.code_digest")
        before = config.CACHE_DIR
        try:
            config.CACHE_DIR = os.path.join(CACHE_DIRECTORY, content.digest_of_code(self)[:16])
            return numba.njit(cache=True, error_model="numpy", nogil=True)(self.py_func)
        except CompiledCodeError:  # nobody can tell whether what lies on the disk is still the same
            return numba.njit(error_model="numpy", nogil=True)(self.py_func)
        finally:
            config.CACHE_DIR = before


class Primitive:
    """What Python cannot say, by its name in ``machine``, which imports numba."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def target(self) -> Any:
        """What numba calls it."""
        numba_that_knows()
        return getattr(import_module("milepost_backtester.engine.machine"), self._name)


def compiled(function: FunctionT) -> FunctionT:
    """Have a function compiled when it is called or compiled code calls it; its module must be importable."""
    return cast("FunctionT", Compiled(function))


@cache
def numba_that_knows() -> Any:
    """Return numba after telling it what the two classes above stand for."""
    numba = import_module("numba")
    registry = import_module("numba.core.registry")
    typeof = import_module("numba.extending").typeof_impl

    def type_of(value: Compiled | Primitive, _context: Any) -> Any:
        return registry.cpu_target.typing_context.resolve_value_type(value.target)

    for kind in (Compiled, Primitive):
        typeof.register(kind)(type_of)
    return numba
