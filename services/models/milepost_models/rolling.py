"""Figures over a window of fixed length that ends at each row: the same bits whatever lies outside the window."""

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from milepost_models.bar_files import Floats

BLOCK_VALUES_MAX = 4_000_000
"""Windows are worked through in blocks, so that long ones over long series fit into memory."""


def over_windows(values: Floats, period: int, figure: Callable[[Floats], Floats]) -> Floats:
    """Apply ``figure`` (rows by period, to one number for each row) to the windows; NaN where one is not whole."""
    found = np.full(len(values), np.nan)
    if len(values) < period:
        return found
    windows = sliding_window_view(values, period)
    rows = max(1, BLOCK_VALUES_MAX // period)
    for start in range(0, len(windows), rows):
        block = figure(windows[start : start + rows])
        found[period - 1 + start : period - 1 + start + len(block)] = block
    return found
