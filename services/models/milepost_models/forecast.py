"""Predictions at the bars of a run, computed in blocks when they are first asked for.

Blocks begin at multiples of ``BLOCK_BARS`` whatever was asked for, and each goes through the model as one batch
of that many rows: a bar's prediction is the same bits wherever a run was cut, and whether later bars are known or
not. A run that is stopped early has computed what it needed, and one that goes on from a checkpoint computes no
earlier block.
"""

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch

from milepost_models.bar_files import Bars, Floats
from milepost_models.inference import Predictor

BLOCK_BARS = 256
"""Small enough that a cancel waits for no more than a few of them, large enough to keep a processor busy."""


class Forecast:
    """Predictions of one model at the bars of one symbol."""

    def __init__(self, predictor: Predictor, bars: Bars, *, symbol: str = "", threads: int = 1) -> None:
        """Compute the features of all bars.

        Raises:
            ValueError: a feature is not finite, or the symbol was not trained on.
        """
        self._predictor = predictor
        self._bars = len(bars)
        self._threads = threads
        # Too few for a single window: there is nothing to see, and nothing will be asked of the model.
        self._seen = predictor.rows_of(bars, symbol=symbol) if self._bars > predictor.first_row else None

    def block(self, number: int) -> Floats:
        """Return the predictions at a block's bars (``BLOCK_BARS`` by columns), not a number where there is none.

        Columns: probabilities of the classes, or one expected log return.
        """
        first, start = self._predictor.first_row, number * BLOCK_BARS
        found = np.full((BLOCK_BARS, max(1, len(self._predictor.classes))), np.nan)
        stop = min(start + BLOCK_BARS, self._bars)
        if self._seen is None or stop <= first:
            return found
        rows = np.clip(np.arange(start, start + BLOCK_BARS), max(start, first), stop - 1)
        with _threads(self._threads):
            predictions = self._predictor.predict_rows(self._seen, rows)
        values = predictions.returns if predictions.probabilities is None else predictions.probabilities
        if values is None:
            raise AssertionError("a model predicts probabilities or returns")
        there = slice(max(start, first) - start, stop - start)
        found[there] = values.reshape(BLOCK_BARS, -1)[there]
        return found


@contextmanager
def _threads(count: int) -> Generator[None]:
    """Another number of threads may add up in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
