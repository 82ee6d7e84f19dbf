"""NumPy's generator with a state that is quick to read: NumPy itself makes an integer object of each of 624 words.

``numpy.random.set_bit_generator`` lets an instance stand in for the generator behind ``numpy.random``. It is
NumPy's own class, so it draws the same numbers; only reading ``state`` is another way to the same values: a copy
of the memory that ``BitGenerator.ctypes.state_address`` names. Where that memory is not what NumPy's own
``state`` says, nothing stands in.
"""

import ctypes
import threading
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

# Its stubs leave out that the generator can be another one.
_numpy: Any = np.random
_WORDS = 624
_DRAWS_BETWEEN_PROOFS = 1000
"""So that the second proof sees other words, and another place in them."""


class MT19937(np.random.MT19937):
    """The name is part of the state, and NumPy takes back no state of another name."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        memory: Any = (ctypes.c_uint32 * (_WORDS + 1)).from_address(self.ctypes.state_address)
        self._memory: NDArray[np.uint32] = np.frombuffer(memory, dtype=np.uint32)
        """The words, and then how many of them were used."""
        self._bytes = memoryview(memory).cast("B")
        self._reader: int | None = None

    def read(self) -> tuple[Any, ...]:
        """Return ``numpy.random.get_state()`` where this stands in, but for the words: see ``unfolded``."""
        self._reader = threading.get_ident()
        try:
            return cast("tuple[Any, ...]", np.random.get_state(legacy=True))
        finally:
            self._reader = None

    @property
    def state(self) -> Any:
        """What NumPy's own property returns, except to ``read``."""
        if self._reader is not None and self._reader == threading.get_ident():
            return {"bit_generator": "MT19937", "state": {"key": bytes(self._bytes), "pos": -1}}
        copied = self._memory.copy()
        return {"bit_generator": "MT19937", "state": {"key": copied[:_WORDS], "pos": int(copied[_WORDS])}}

    @state.setter
    def state(self, value: Any) -> None:
        np.random.MT19937.state.__set__(self, value)


@cache
def quick_twister() -> MT19937 | None:
    """Return the one of this process; None where NumPy keeps the state otherwise than is known here."""
    found = MT19937(0)
    if not _reads_right(found):
        return None
    found.random_raw(_DRAWS_BETWEEN_PROOFS)
    return found if _reads_right(found) else None


def exchange_generator(other: object | None) -> object:
    """Have another generator behind ``numpy.random``, which goes on with a state of its own; None: the same.

    Returns the one that was there.
    """
    present: object = _numpy.get_bit_generator()
    if other is not None:
        _numpy.set_bit_generator(other)
    return present


def global_state() -> tuple[Any, ...]:
    """Return NumPy's global state in the least time; ``unfolded`` makes of it what NumPy takes back."""
    generator: Any = _numpy.get_bit_generator()
    if isinstance(generator, MT19937):
        return generator.read()
    return tuple(np.random.get_state(legacy=True))


def unfolded(state: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what ``numpy.random.get_state`` would have, of a state that ``global_state`` returned."""
    name, words, place, *gauss = state
    if isinstance(words, bytes):
        numbers = np.frombuffer(words, dtype=np.uint32)
        words, place = numbers[:_WORDS], int(numbers[_WORDS])
    return (name, words, place, *gauss)


def _reads_right(found: MT19937) -> bool:
    quick: Any = found.state
    own: Any = np.random.MT19937.state.__get__(found)
    equal = np.array_equal(quick["state"]["key"], own["state"]["key"])
    return bool(equal) and quick["state"]["pos"] == own["state"]["pos"]
