"""Labels: what follows a bar, and how far each one looks."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from milepost_contracts.specs.bars_labels import (
    DirectionLabel,
    LabelSpec,
    ReturnLabel,
    TripleBarrierLabel,
    ZigzagLabel,
)
from milepost_models.bar_files import Floats
from milepost_trainer.bars.labels import NONE, compute_labels, zigzag

pytestmark = pytest.mark.unit

CLOSES = arrays.arrays(np.float64, st.integers(30, 80), elements=st.integers(90, 110).map(float))
SPECS: tuple[LabelSpec, ...] = (
    DirectionLabel(horizon=3),
    ReturnLabel(horizon=4),
    TripleBarrierLabel(horizon=6, profit=1.5, stop=1.0, volatility=5),
    ZigzagLabel(reversal=0.06),
)
SPEC = st.sampled_from(SPECS)


def test_the_return_that_follows() -> None:
    """Two bars ahead, and none where that bar is not there."""
    found = compute_labels(np.array([1.0, 2.0, 4.0, 8.0]), ReturnLabel(horizon=2))
    assert found.values[:2] == pytest.approx([math.log(4), math.log(4)])
    assert found.last_bar.tolist() == [2, 3, NONE, NONE]


def test_the_direction_that_follows() -> None:
    """Up when the close is higher then; equal is not up."""
    found = compute_labels(np.array([1.0, 2.0, 2.0, 1.0, 3.0]), DirectionLabel())
    assert found.values[:4].tolist() == [1.0, 0.0, 0.0, 1.0]
    assert found.last_bar.tolist() == [1, 2, 3, 4, NONE]


BARRIERS = TripleBarrierLabel(horizon=3, profit=2.0, stop=1.0, volatility=2)


@pytest.mark.parametrize(
    ("ahead", "value", "bars"),
    [([1.0, 2.0, 0.0], 2, 2), ([1.9, -1.0, 9.0], 0, 2), ([1.9, -0.9, 1.9], 1, 3), ([-1.0, 9.0, 9.0], 0, 1)],
)
def test_the_barrier_that_is_touched_first(ahead: list[float], value: int, bars: int) -> None:
    """Profit is up, stop is down, neither in time is a timeout; the label looks no further than the touch."""
    steps = np.array([0.0, 0.02, 0.0])  # log returns of +0.02 and -0.02: their deviation is 0.02
    logs = np.concatenate((steps, np.array(ahead) * 0.02 * (1 + 1e-9)))
    found = compute_labels(np.exp(logs), BARRIERS)
    assert (found.values[2], found.last_bar[2]) == (value, 2 + bars)
    assert found.last_bar[[0, 1, 3]].tolist() == [NONE] * 3


def test_without_volatility_there_is_no_barrier() -> None:
    """Flat prices have no labels, rather than all of one class."""
    found = compute_labels(np.full(30, 5.0), BARRIERS)
    assert not found.known.any()
    assert np.isnan(found.values).all()


def test_swings_of_a_zigzag() -> None:
    """From a low up, from a high down, small moves ignored; known when the swing goes on or has turned."""
    #                  low         pullback   high  small  turned  small   new low
    close = np.array([105.0, 100.0, 111.0, 108.0, 120.0, 115.0, 107.0, 108.0, 106.0, 107.0])
    found = zigzag(close, 0.1)
    assert found.values[1:8].tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert found.last_bar.tolist() == [NONE, 2, 4, 4, 6, 6, 8, 8, NONE, NONE]


def test_a_walk_without_a_reversal_has_no_swings() -> None:
    """No bar is labelled by a swing that never turned."""
    assert not zigzag(np.linspace(100, 104, 50), 0.05).known.any()


def turning(close: Floats, reversal: float) -> list[int]:
    """The pivots, by the definition: extremes between confirmed reversals."""
    values = zigzag(close, reversal).values
    known = np.flatnonzero(~np.isnan(values))
    return [int(row) for row in known[1:] if values[row] != values[row - 1]]


@settings(deadline=None)
@given(close=CLOSES)
def test_swings_turn_at_extremes_and_are_large_enough(close: Floats) -> None:
    """Between two pivots lies no higher high and no lower low, and each swing moves by the reversal or more."""
    pivots = turning(close, 0.06)
    for start, stop in pairwise(pivots):
        swing = close[start : stop + 1]
        ends = sorted((close[start], close[stop]))
        assert ends == [swing.min(), swing.max()]
        assert ends[1] >= ends[0] * 1.06 or ends[0] <= ends[1] * 0.94


@settings(deadline=None)
@given(close=CLOSES, spec=SPEC, data=st.data())
def test_a_label_looks_no_further_than_it_says(close: Floats, spec: LabelSpec, data: st.DataObject) -> None:
    """Whatever closes follow a label's last bar, the label and its last bar are the same."""
    found = compute_labels(close, spec)
    known = np.flatnonzero(found.known)
    assume(len(known))
    bar = data.draw(st.sampled_from(known.tolist()))
    end = int(found.last_bar[bar]) + 1
    others = data.draw(arrays.arrays(np.float64, len(close) - end, elements=st.integers(50, 150).map(float)))
    changed = compute_labels(np.concatenate((close[:end], others)), spec)
    assert (changed.values[bar], changed.last_bar[bar]) == (found.values[bar], end - 1)


@settings(deadline=None)
@given(close=CLOSES, spec=SPEC)
def test_every_label_lies_ahead_of_its_bar_and_within_the_data(close: Floats, spec: LabelSpec) -> None:
    """A value wherever a last bar is, that bar after the label's own, and classes only that exist."""
    found = compute_labels(close, spec)
    rows = np.flatnonzero(found.known)
    assert (np.isnan(found.values) == ~found.known).all()
    assert (found.last_bar[rows] > rows).all()
    assert (found.last_bar[rows] < len(close)).all()
    if spec.classes:
        assert set(found.values[rows].tolist()) <= set(range(len(spec.classes)))


@settings(deadline=None)
@given(close=CLOSES, bar=st.integers(0, 60))
def test_a_swing_is_labelled_as_soon_as_it_is_known(close: Floats, bar: int) -> None:
    """One bar fewer than a label's last bar, and the zigzag cannot tell yet."""
    found = zigzag(close, 0.06)
    assume(bar < len(close) and found.known[bar])
    assert zigzag(close[: found.last_bar[bar]], 0.06).last_bar[bar] == NONE
