"""What a sweep does, unit by unit: folds, combinations, and which of them a unit is.

Units are numbered through all folds: unit ``n`` is combination ``n % combinations`` of fold ``n // combinations``.
Without walk-forward there is one fold: all bars, and nothing is traded forward.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from milepost_contracts.specs.sweep import SHARE_DEFAULT, WalkForwardSpec

UNITS_MAX = 1_000_000
TEST_BARS_MIN = 3
"""Fewer bars have no figures; the last one closes what is held."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Bars to choose on and bars to trade: from the first number to before the second."""

    train_start: int
    train_stop: int
    test_start: int
    test_stop: int
    """Equal to ``test_start`` when nothing is traded forward."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Folds and combinations of one sweep."""

    combinations: Sequence[Mapping[str, Any]]
    """Checked parameters of the strategy."""
    folds: tuple[Fold, ...]
    walks: bool
    """Whether the best combination of each fold is traded forward."""

    @property
    def total_units(self) -> int:
        """How many times a combination is run over a training window."""
        return len(self.combinations) * len(self.folds)

    def place(self, unit: int) -> tuple[int, int]:
        """Return fold and combination of a unit."""
        return divmod(unit, len(self.combinations))


def whole(bars: int) -> tuple[Fold, ...]:
    """Return the one fold of a sweep that does not walk."""
    return (Fold(0, bars, bars, bars),)


def folds_of(walk: WalkForwardSpec, bars: int) -> tuple[Fold, ...]:
    """Return the folds of a walk over so many bars; the last test window may be shorter than the others.

    Raises:
        ValueError: the bars are too few for one fold.
    """
    share = SHARE_DEFAULT if walk.train_share is None else walk.train_share
    train = walk.train_bars or int(bars * share)
    step = walk.step_bars or walk.test_bars
    needed = train + walk.purge_bars + TEST_BARS_MIN
    if train < 2 or needed > bars:
        raise ValueError(
            f"spec.walk_forward: {bars:,} bars are too few to train on {train:,}, leave out {walk.purge_bars:,}"
            f" and trade {TEST_BARS_MIN} or more: make the training window smaller or give more bars"
        )
    starts = range(0, bars - needed + 1, step)
    return tuple(
        Fold(
            0 if walk.anchored else start,
            start + train,
            start + train + walk.purge_bars,
            min(start + train + walk.purge_bars + walk.test_bars, bars),
        )
        for start in starts
    )
