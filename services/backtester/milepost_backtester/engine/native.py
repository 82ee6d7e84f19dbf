"""Machine code of the functions that Python calls for every run, kept as object files and loaded without numba.

numba makes the code, once for an installation and processor; LLVM alone loads it, in a tenth of the time that
numba takes to import. A file begins with the SHA-256 of what follows it, is written under another name and
renamed, and its name says everything that the code depends on: a damaged or foreign file is compiled anew.
"""

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from typing import Any

from milepost_backtester.engine.code_digest import digest_of_code
from milepost_backtester.engine.compiled import CACHE_DIRECTORY, DIGEST_OF_RULES, Compiled
from milepost_backtester.engine.errors import CompiledCodeError

NativeCall = Callable[..., int]
"""Takes and returns whole numbers of 64 bits."""
DIGEST_BYTES = 32
_WORD = ctypes.c_int64
_ENGINES: list[Any] = []
"""Own the code; kept as long as the process."""
_UNUSED_SYMBOLS = (
    "numba_gil_ensure",
    "numba_gil_release",
    "numba_unpickle",
    "numba_runtime_build_excinfo_struct",
    "numba_do_raise",
    "NRT_Free",
    "NRT_MemInfo_call_dtor",
)
"""What numba's wrappers name for errors and for arrays that own memory; an entry has neither."""


@cache
def run_call() -> NativeCall:
    """``(start, stop, returns, wanted_start, frame)``: see ``machine.run_entry``. Other threads wait meanwhile."""
    return ctypes.PYFUNCTYPE(_WORD, *[_WORD] * 5)(_run_address())


@cache
def run_long_call() -> NativeCall:
    """The same for many bars; other threads go on meanwhile."""
    return ctypes.CFUNCTYPE(_WORD, *[_WORD] * 5)(_run_address())


@cache
def run_scheduled_call() -> NativeCall:
    """``(start, place, frame)``: see ``machine.run_scheduled_entry``."""
    address = address_of("run_scheduled", "", lambda: _machine().run_scheduled_entry())
    return ctypes.PYFUNCTYPE(_WORD, *[_WORD] * 3)(address)


@cache
def acting_call(on_bar: Compiled) -> NativeCall:
    """``run_long_call`` with a strategy's decisions compiled into it.

    Raises:
        CompiledCodeError: it uses what compiled code on disk cannot.
    """
    address = address_of(
        on_bar.py_func.__name__, digest_of_code(on_bar), lambda: _machine().run_entry(on_bar.target)
    )
    return ctypes.CFUNCTYPE(_WORD, *[_WORD] * 5)(address)


@cache
def signals_call(signals: Compiled) -> NativeCall:
    """``(start, stop, frame)``: see ``machine.signals_entry``. Other threads go on meanwhile.

    Raises:
        CompiledCodeError: it cannot be called without numba.
    """
    source = digest_of_code(signals)
    address = address_of(signals.py_func.__name__, source, lambda: _machine().signals_entry(signals.target))
    return ctypes.CFUNCTYPE(_WORD, *[_WORD] * 3)(address)


@cache
def numbers_call(function: Compiled) -> NativeCall:
    """``(frame)``: see ``machine.numbers_entry``; a frame has three numbers for each array, as ``Frame`` has them.

    Other threads go on meanwhile.

    Raises:
        CompiledCodeError: it cannot be called without numba.
    """
    source = digest_of_code(function)
    address = address_of(function.py_func.__name__, source, lambda: _machine().numbers_entry(function.target))
    return ctypes.CFUNCTYPE(_WORD, _WORD)(address)


def address_of(name: str, source: str, build: Callable[[], Any]) -> int:
    """Return where the code of an entry lies, after compiling it if need be.

    ``source``: a digest of what it is made of, beside the rules; ``build`` makes it with numba.

    Raises:
        CompiledCodeError: it needs more than the processor.
    """
    key = sha256("\n".join((*_machine_words(), name, source)).encode()).hexdigest()
    path = os.path.join(CACHE_DIRECTORY, f"{name}-{key[:24]}.o")
    content = _read(path)
    if content is None:
        content = _compile(build())
        # Without a place to write, every process compiles for itself.
        with contextlib.suppress(OSError):
            _write(path, content)
    return _load(content)


@cache
def _run_address() -> int:
    return address_of("run", "", lambda: _machine().run_entry())


def _machine() -> Any:
    return import_module("milepost_backtester.engine.machine")


@cache
def _machine_words() -> tuple[str, ...]:
    """What code depends on, beside its source."""
    llvm = _llvm()
    return (
        DIGEST_OF_RULES,
        version("numba"),
        version("llvmlite"),
        sys.version,
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    )


@cache
def _llvm() -> Any:
    llvm = import_module("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def _target_machine() -> Any:
    llvm = _llvm()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic",
        codemodel="jitdefault",
        jit=True,
    )


def _compile(entry: Any) -> bytes:
    """Return an entry's name and object code."""
    module = _llvm().parse_assembly(entry.inspect_llvm())
    code: bytes = _target_machine().emit_object(module)
    unknown = sorted(
        function.name
        for function in module.functions
        if function.is_declaration and function.name.startswith(("numba_", "NRT_"))
    )
    foreign = [name for name in unknown if name not in _UNUSED_SYMBOLS]
    header = {"name": entry.native_name, "foreign": foreign}
    return json.dumps(header).encode() + b"\n" + code


def _load(content: bytes) -> int:
    head, _, code = content.partition(b"\n")
    header: dict[str, Any] = json.loads(head)
    if header["foreign"]:
        raise CompiledCodeError(f"it needs {', '.join(header['foreign'])}: it must not make arrays")
    llvm = _llvm()
    _define_unused_symbols()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _ENGINES.append(engine)
    return engine.get_function_address(header["name"])


@cache
def _define_unused_symbols() -> None:
    """Give the linker something for what is never called; numba defines its own when it is imported."""
    never: Any = ctypes.cast(ctypes.pythonapi.Py_FatalError, ctypes.c_void_p).value
    for name in _UNUSED_SYMBOLS:
        if not _llvm().address_of_symbol(name):
            _llvm().add_symbol(name, never)


def _read(path: str) -> bytes | None:
    """Return a whole file's content; None when there is none, or a damaged one."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return None
    digest, rest = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    return rest if rest and sha256(rest).digest() == digest else None


def _write(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(sha256(content).digest() + content)
    os.replace(temporary, path)
