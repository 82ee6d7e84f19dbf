"""Where arrays lie in memory, as compiled code is told: one number instead of an argument for each of them."""

from typing import Any

import numpy as np

(
    WAKE_PRICES,
    WAKE_COUNTS,
    TIMESTAMP,
    OPEN,
    HIGH,
    LOW,
    CLOSE,
    VOLUME,
    WANTED,
    RULES,
    MONEY,
    COUNTS,
    POSITION,
    ORDERS,
    LOTS,
    FILLS,
    TRADES,
    EQUITY_MARKS,
    CASH_MARKS,
    POSITION_MARKS,
    ORDER_IDS,
    QUANTITIES,
    SUBMITTED_BARS,
    SYMBOLS,
    PARAMETERS,
    MEMORY,
    FAULT,
    TURNS,
) = range(28)
"""Places."""
PLACES = 28
NUMBERS = 3
"""For each place: address, rows, columns."""


class Frame:
    """Keeps the arrays alive whose addresses it gives out."""

    __slots__ = ("_arrays", "_numbers", "address")

    def __init__(self) -> None:
        self._arrays: list[Any] = [None] * PLACES
        self._numbers = np.zeros(PLACES * NUMBERS, dtype=np.int64)
        self.address: int = self._numbers.ctypes.data
        """Of the frame itself."""

    def put(self, place: int, array: Any) -> None:
        """Let compiled code work on an array of one or two dimensions without gaps; nothing if it does already."""
        if self._arrays[place] is array:
            return
        if not array.flags.c_contiguous:
            raise ValueError("an array with gaps")
        self._arrays[place] = array
        shape = (*array.shape, 0)[:2]
        self._numbers[place * NUMBERS : (place + 1) * NUMBERS] = (array.ctypes.data, *shape)
