"""A digest of a function for compiled code with all that it uses: what its machine code on disk is named by."""

from collections.abc import Iterator
from dis import get_instructions
from hashlib import sha256
from types import CodeType, ModuleType
from typing import Any, cast

import numpy as np

from milepost_backtester.engine.compiled import Compiled, Primitive
from milepost_backtester.engine.errors import CompiledCodeError

_PLAIN = (bool, int, float, str, bytes, type(None))
_KNOWN_MODULES = ("numpy", "math", "builtins")


def digest_of_code(function: Compiled) -> str:
    """Return it; functions that are called, and constants of other modules, count with what they are.

    Raises:
        CompiledCodeError: it uses something whose content cannot be told.
    """
    words: list[str] = []
    _follow(function, words, seen=set())
    return sha256("\n".join(words).encode()).hexdigest()


def _follow(function: Compiled, words: list[str], seen: set[int]) -> None:
    if id(function) in seen:
        return
    seen.add(id(function))
    plain: Any = function.py_func
    words.append(f"{plain.__module__}.{plain.__qualname__} {plain.__defaults__} {plain.__kwdefaults__}")
    words.extend(_words_of(plain.__code__))
    cells = zip(plain.__code__.co_freevars, plain.__closure__ or (), strict=True)
    used: dict[str, Any] = {name: cell.cell_contents for name, cell in cells}
    used |= {name: plain.__globals__[name] for name in _names_in(plain.__code__) if name in plain.__globals__}
    for name in sorted(used):
        if isinstance(used[name], Compiled):
            words.append(name)
            _follow(used[name], words, seen)
        else:
            words.append(f"{name} {_content(name, used[name])}")


def _words_of(code: CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield " ".join((*code.co_names, *code.co_varnames))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _words_of(constant)
        else:
            yield repr(constant)


def _names_in(code: CodeType) -> set[str]:
    """Return the global names that are read; ``co_names`` has attributes too, which stand for something else."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    read = {part.argval for part in get_instructions(code) if part.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return read.union(*map(_names_in, inner))


def _content(name: str, value: Any) -> str:
    """Return what a name stands for, in words."""
    kind = cast("Any", type(value))
    if issubclass(kind, Primitive):
        return "primitive"
    if issubclass(kind, ModuleType) and value.__name__.split(".")[0] in _KNOWN_MODULES:
        return value.__name__
    if issubclass(kind, tuple):
        return " ".join(_content(name, part) for part in value)
    if issubclass(kind, np.ndarray):
        return f"{value.dtype} {value.shape} {value.tobytes().hex()}"
    if issubclass(kind, type) and hasattr(value, "_fields"):
        return f"{value.__qualname__} {value._fields}"
    if issubclass(kind, (*_PLAIN, np.dtype)) or getattr(value, "__module__", "") in _KNOWN_MODULES:
        return repr(value)
    raise CompiledCodeError(
        f"{name} is a {kind.__name__}; use compiled functions, numbers, tuples and arrays"
    )
