"""Features: what formulas say, nothing from later bars, no beginning that still weighs."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_contracts.specs.bars_training import FeatureSpec
from milepost_models import rolling
from milepost_models.bar_files import Bars, Floats
from milepost_models.features import (
    START_WEIGHT_MAX,
    compute_features,
    data_versions,
    fading_rows,
    first_row,
    log_return,
    zscore,
)
from pydantic import ValidationError

from tests.trainer.bars_doubles import ALL_FEATURES, bars_of, one_feature, part_of, spliced

pytestmark = pytest.mark.unit

BARS, OTHER = bars_of(), bars_of(seed=2)
WHOLE = compute_features(BARS, ALL_FEATURES)
SOME = st.integers(1, 399)


def column(name: str) -> Floats:
    return WHOLE.values[:, WHOLE.names.index(name)]


def exponential(values: Floats, period: int, weight: float) -> Floats:
    """The plain mean of the first values, then weight * value + (1 - weight) * mean before."""
    found = np.full(len(values), np.nan)
    found[period - 1] = values[:period].mean()
    for row in range(period, len(values)):
        found[row] = weight * values[row] + (1 - weight) * found[row - 1]
    return found


def wilder(values: Floats, period: int) -> Floats:
    return np.concatenate(([np.nan], exponential(values[1:], period, 1 / period)))


def formulas(bars: Bars) -> dict[str, Floats]:
    """Every feature in the slowest and plainest words."""
    close, change = bars.close, np.diff(bars.close, prepend=np.nan)
    before = np.concatenate(([np.nan], close[:-1]))
    ranges = np.maximum(bars.high, before) - np.minimum(bars.low, before)
    windows = {t: close[t - 19 : t + 1] for t in range(19, len(close))}
    rises, falls = wilder(np.maximum(change, 0), 14), wilder(np.maximum(-change, 0), 14)
    line = exponential(close, 12, 2 / 13) - exponential(close, 26, 2 / 27)
    signal = np.concatenate((np.full(25, np.nan), exponential(line[25:], 9, 0.2)))
    mean, deviation = (
        np.array([math.nan] * 19 + [f(w) for w in windows.values()]) for f in (np.mean, np.std)
    )
    return {
        "return_5": np.array(
            [math.nan] * 5 + [math.log(close[t] / close[t - 5]) for t in range(5, len(close))]
        ),
        "log_volume": np.log(1 + bars.volume),
        "moving_average_10": np.log(close / np.convolve(np.pad(close, (9, 0)), np.full(10, 0.1), "valid")),
        "exponential_average_10": np.log(close / exponential(close, 10, 2 / 11)),
        "rsi_14": 100 * rises / (rises + falls),
        "macd_line_12_26_9": line / close,
        "macd_signal_12_26_9": signal / close,
        "macd_difference_12_26_9": (line - signal) / close,
        "atr_14": wilder(ranges, 14) / close,
        "bollinger_place_20_2": (close - mean + 2 * deviation) / (4 * deviation),
        "bollinger_width_20_2": 4 * deviation / mean,
        "zscore_20": (close - mean) / deviation,
    }


@pytest.mark.parametrize("name", formulas(BARS))
def test_a_feature_is_what_its_formula_says(name: str) -> None:
    """From the first row that is used on, the library's figures are those of the plain formula."""
    first = WHOLE.first
    np.testing.assert_allclose(column(name)[first:], formulas(BARS)[name][first:], rtol=1e-6, atol=1e-9)


def test_flat_prices_give_figures() -> None:
    """Where nothing moves, no feature divides by zero."""
    flat = np.full(300, 7.1)
    bars = Bars(BARS.timestamp[:300], flat, flat, flat, flat, flat)
    found = compute_features(bars, ALL_FEATURES)
    used = dict(zip(found.names, found.values[found.first :].T, strict=True))
    assert all(np.isfinite(values).all() for values in used.values())
    assert (used["zscore_20"] == 0).all()
    assert (used["bollinger_place_20_2"] == 0.5).all()


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_unit_of_prices_does_not_matter(scale: float) -> None:
    """Prices in millionths or millions give the same features."""
    scaled = Bars(
        BARS.timestamp, *(getattr(BARS, n) * scale for n in ("open", "high", "low", "close")), BARS.volume
    )
    found = compute_features(scaled, ALL_FEATURES)
    np.testing.assert_allclose(found.values[found.first :], WHOLE.values[WHOLE.first :], rtol=1e-6, atol=1e-8)


@settings(deadline=None)
@given(edge=SOME)
def test_a_feature_never_looks_ahead(edge: int) -> None:
    """Whatever bars follow, or none, the features up to a bar are the same bit for bit; those after it are not."""
    mixed = compute_features(spliced(BARS, OTHER, edge), ALL_FEATURES)
    alone = compute_features(part_of(BARS, 0, edge), ALL_FEATURES)
    assert WHOLE.values[:edge].tobytes() == mixed.values[:edge].tobytes() == alone.values.tobytes()
    if edge >= WHOLE.first:
        assert (WHOLE.values[edge] != mixed.values[edge]).all()


@pytest.mark.parametrize("name", ALL_FEATURES.model_dump())
def test_the_first_row_that_is_used_hardly_knows_where_the_bars_began(name: str) -> None:
    """Cut off the bars before, and values from the first row on differ by no more than the start may weigh."""
    spec = one_feature(name)
    found = compute_features(part_of(BARS, 150), spec)
    assert np.isfinite(found.values[found.first :]).all()
    whole = compute_features(BARS, spec).values[150 + found.first :]
    spread = np.abs(compute_features(BARS, spec).values[found.first :]).max(axis=0)
    difference = np.abs(found.values[found.first :] - whole).max(axis=0)
    assert (difference <= 5 * START_WEIGHT_MAX * spread).all()


def test_means_that_never_forget_wait_until_their_start_has_faded() -> None:
    """A row earlier, the start would weigh more than it may."""
    rows = fading_rows(10)
    assert (9 / 11) ** rows <= START_WEIGHT_MAX < (9 / 11) ** (rows - 1)
    assert first_row(one_feature("exponential_averages")) == 9 + rows
    assert first_row(one_feature("rsi")) == 14 + fading_rows(27)
    assert (13 / 14) ** fading_rows(27) <= START_WEIGHT_MAX
    assert first_row(one_feature("moving_averages")) == 29


def test_windows_in_blocks_are_windows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of blocks changes no bit."""
    whole = zscore(BARS.close, 20)
    monkeypatch.setattr(rolling, "BLOCK_VALUES_MAX", 7 * 20)
    assert zscore(BARS.close, 20).tobytes() == whole.tobytes()


@pytest.mark.parametrize("count", [1, 2, 40])
def test_fewer_bars_than_a_period_have_no_features(count: int) -> None:
    """There is a row for each bar, and no value where a period is not full."""
    found = compute_features(part_of(BARS, 0, count), ALL_FEATURES)
    assert found.values.shape == (count, len(WHOLE.names))
    assert np.isnan(log_return(BARS.close[:count], 50)).all()


REFUSED: dict[str, dict[str, Any]] = {
    "choose at least one feature": {
        "returns": [],
        "log_volume": False,
        "moving_averages": [],
        "rsi": None,
        "zscore": None,
    },
    "returns: the same number of bars is given twice": {"returns": [3, 3]},
    r"fast \(30\) must be less than slow \(26\)": {"macd": {"fast": 30}},
}


@pytest.mark.parametrize("words", REFUSED)
def test_features_that_make_no_sense_are_refused(words: str) -> None:
    """When the command is made, with the reason."""
    with pytest.raises(ValidationError, match=words):
        FeatureSpec.model_validate(REFUSED[words])


def test_the_library_is_named_with_its_version() -> None:
    """Another version may give other bits, so the fingerprint has to say it."""
    assert data_versions()["ta_lib"].split() == ["0.8.2", "(0.8.1)"]
