"""Predictions at the bars of a run, computed in blocks when they are first asked for.

A bar's prediction is the same bits wherever a run was cut, and whether later bars are known or not (see
``inference``). A run that is stopped early has computed what it needed, and one that goes on from a checkpoint
computes no earlier block.
"""

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch

from milepost_models.bar_files import Bars, Floats
from milepost_models.inference import BLOCK_BARS, Predictor


class Forecast:
    """Predictions of one model at the bars of one symbol."""

    def __init__(self, predictor: Predictor, bars: Bars, *, symbol: str = "", threads: int = 1) -> None:
        """Compute the features of all bars.

        Raises:
            ValueError: a feature is not finite, or the symbol was not trained on.
        """
        self._predictor = predictor
        self._threads = threads
        # Too few for a single window: there is nothing to see, and nothing will be asked of the model.
        self._seen = predictor.rows_of(bars, symbol=symbol) if len(bars) > predictor.first_row else None

    def block(self, number: int) -> Floats:
        """Return the predictions at a block's bars (``BLOCK_BARS`` by columns), not a number where there is none.

        Columns: probabilities of the classes, or one expected log return.
        """
        found = np.full((BLOCK_BARS, max(1, len(self._predictor.classes))), np.nan)
        if self._seen is None:
            return found
        rows = self._predictor.block_rows(self._seen, number)
        with _threads(self._threads):
            predictions = self._predictor.predict_rows(self._seen, rows)
        values = predictions.returns if predictions.probabilities is None else predictions.probabilities
        if values is None:
            raise AssertionError("a model predicts probabilities or returns")
        found[rows % BLOCK_BARS] = values.reshape(len(rows), -1)
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
