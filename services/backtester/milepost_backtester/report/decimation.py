"""Long curves as few points, with every peak that a screen could show."""

import numpy as np

from milepost_backtester.engine.bars import Floats, Integers


def extremes(values: Floats, columns: int) -> Integers:
    """Return the places of the lowest and highest value of each of ``columns`` equal parts, in their order.

    The first and the last place are among them; where there are at most twice as many as columns, all are.
    """
    count = len(values)
    if count <= 2 * columns:
        return np.arange(count, dtype=np.int64)
    edges = np.linspace(0, count, columns + 1).astype(np.int64)
    places = {0, count - 1}
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[start:stop]
        places.update((start + int(part.argmin()), start + int(part.argmax())))
    return np.array(sorted(places), dtype=np.int64)


def evenly(count: int, columns: int) -> Integers:
    """Return at most ``columns`` places spread over ``count``, the first and the last among them."""
    return np.unique(np.round(np.linspace(0, count - 1, min(count, columns))).astype(np.int64))
