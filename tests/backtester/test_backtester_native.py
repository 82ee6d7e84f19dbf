"""Compiled code on disk: named by all that it depends on, and never trusted when it is damaged."""

from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from milepost_backtester.engine import native
from milepost_backtester.engine.bars import Floats
from milepost_backtester.engine.code_digest import digest_of_code
from milepost_backtester.engine.compiled import Compiled, compiled
from milepost_backtester.engine.errors import CompiledCodeError
from milepost_backtester.engine.strategy import CompiledRule
from milepost_backtester.engine.wishes import Wishes

from tests.support.bars import make_bars

pytestmark = pytest.mark.unit

SIGNATURE = "start, stop, timestamp, open_price, high, low, close, volume, parameters, memory, wanted"


def signals_of(body: str, **names: Any) -> Compiled:
    """Return compiled signals with this body."""
    space: dict[str, Any] = {"np": np, **names}
    exec(f"def signals({SIGNATURE}):\n    {body}", space)
    space["signals"].__module__ = __name__
    return Compiled(space["signals"])


@compiled
def same_always(
    start: int, stop: int, timestamp: Any, open_price: Any, high: Any, low: Any, close: Any, volume: Any,
    parameters: Floats, memory: Floats, wanted: Floats,
) -> None:  # fmt: skip
    for bar in range(start, stop):
        wanted[0, bar - start] = parameters[0]


@compiled
def with_an_array(
    start: int, stop: int, timestamp: Any, open_price: Any, high: Any, low: Any, close: Any, volume: Any,
    parameters: Floats, memory: Floats, wanted: Floats,
) -> None:  # fmt: skip
    wanted[0, :] = np.full(stop - start, parameters[0]) + 1.0


def wishes_of(signals: Any) -> list[float]:
    rule = CompiledRule(signals, np.array([7.0]), np.zeros(0))
    return Wishes(make_bars(5), rule).of(1, 4)[0].tolist()


@pytest.mark.parametrize("damage", ["none", "cut", "bit", "empty"])
def test_a_damaged_file_is_compiled_anew(damage: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Code that is whole on disk is not compiled again; code with any damage is, and put in its place."""
    monkeypatch.setattr(native, "CACHE_DIRECTORY", str(tmp_path))
    native.signals_call.cache_clear()
    assert wishes_of(same_always) == [7.0] * 3
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    bad = {"none": good, "cut": good[:-1], "bit": good[:90] + bytes([good[90] ^ 1]) + good[91:], "empty": b""}
    path.write_bytes(bad[damage])
    compilations: list[Any] = []
    compile_now = native._compile
    monkeypatch.setattr(native, "_compile", lambda entry: compilations.append(entry) or compile_now(entry))
    for _ in range(2):
        native.signals_call.cache_clear()
        assert wishes_of(same_always) == [7.0] * 3
        assert len(compilations) == (damage != "none")
        assert [kept.name for kept in tmp_path.iterdir()] == [path.name]
    native.signals_call.cache_clear()


def test_a_place_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: Any) -> None:
    """Where nothing can be kept, the process compiles for itself."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(native, "CACHE_DIRECTORY", str(tmp_path / "file" / "below"))
    native.signals_call.cache_clear()
    assert wishes_of(same_always) == [7.0] * 3
    native.signals_call.cache_clear()


def test_signals_that_make_arrays_run_with_numba() -> None:
    """A rule that makes arrays is no entry of its own, and works all the same."""
    with pytest.raises(CompiledCodeError, match="must not make arrays"):
        native.signals_call(with_an_array)  # type: ignore[arg-type]
    assert wishes_of(with_an_array) == [8.0] * 3


def helper(number: float) -> Compiled:
    return signals_of("return LIMIT", LIMIT=number)


def test_the_name_of_code_follows_from_all_that_it_uses() -> None:
    """Another body, constant or called function is other code; the same is the same."""
    digests = [
        digest_of_code(function)
        for function in (
            signals_of("wanted[0, 0] = 1.0"),
            signals_of("wanted[0, 0] = 2.0"),
            signals_of("wanted[0, 0] = LIMIT", LIMIT=1.0),
            signals_of("wanted[0, 0] = LIMIT", LIMIT=nan),
            signals_of("wanted[0, 0] = TABLE[0]", TABLE=np.array([1.0])),
            signals_of("wanted[0, 0] = TABLE[0]", TABLE=np.array([2.0])),
            signals_of("wanted[0, 0] = called()", called=helper(1.0)),
            signals_of("wanted[0, 0] = called()", called=helper(2.0)),
        )
    ]
    assert len(set(digests)) == len(digests)
    assert digest_of_code(signals_of("wanted[0, 0] = called()", called=helper(2.0))) == digests[-1]
    with pytest.raises(CompiledCodeError, match="thing is a object"):
        digest_of_code(signals_of("thing", thing=object()))


def test_an_attribute_is_not_taken_for_a_name_of_the_module() -> None:
    """Code may read ``thing.bars`` in a module where ``bars`` is something that compiled code cannot use."""
    space: dict[str, Any] = {"bars": object()}
    exec("def look(thing):\n    return thing.bars\ndef use(thing):\n    return bars", space)
    digest_of_code(Compiled(space["look"]))
    with pytest.raises(CompiledCodeError, match="bars is a object"):
        digest_of_code(Compiled(space["use"]))
