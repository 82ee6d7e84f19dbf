"""Parts of the data in the order of time, the same times for all symbols.

Edges are shares of the times at which any symbol has a bar, so that no symbol's validation lies in another's
training. Purge: a sample whose label is not known before its part ends is left out. Embargo: so many times at the
beginning of the validation and test parts are left out too. A window at the beginning of a part reaches back into
the bars before it: they are past, and known then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from milepost_contracts.specs.bars_training import SplitSpec
from milepost_models.bar_files import Indices
from numpy.typing import NDArray

from milepost_trainer.bars.labels import Labels

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """Times of one part, in nanoseconds: samples at ``begin`` or later, with labels known before ``end``."""

    begin: int
    end: int


def spans(timestamps: Sequence[Times], spec: SplitSpec) -> tuple[Span, Span, Span]:
    """Return the spans of training, validation and test, over the ascending timestamps of each symbol."""
    times = np.unique(np.concatenate(timestamps))
    count = len(times)
    edges = [0, int(count * spec.train), int(count * (spec.train + spec.validation)), count]
    # One beyond the last time, for begins and ends that lie behind all of them.
    known = np.append(times, times[-1] + 1)
    found = [
        Span(int(known[min(start + (spec.embargo if part else 0), count)]), int(known[stop]))
        for part, (start, stop) in enumerate(pairwise(edges))
    ]
    return found[0], found[1], found[2]


def samples_within(span: Span, timestamps: Times, labels: Labels, first: int) -> Indices:
    """Return the rows of one symbol, from ``first`` on, that are samples of the part."""
    rows = np.flatnonzero(labels.known & (timestamps >= span.begin) & (np.arange(len(timestamps)) >= first))
    return rows[timestamps[labels.last_bar[rows]] < span.end]
