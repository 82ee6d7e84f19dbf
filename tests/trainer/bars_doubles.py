"""Bars and parameters that the tests of the task ``bars`` share."""

from typing import Any

import numpy as np
from milepost_contracts.specs.bars_training import BarsTaskParameters, FeatureSpec
from milepost_models.bar_files import COLUMNS, Bars

from tests.support.bars import make_bars
from tests.trainer.trainer_doubles import small_spec

NO_FEATURES: dict[str, Any] = {
    "returns": (),
    "log_volume": False,
    "moving_averages": (),
    "rsi": None,
    "zscore": None,
}
ALL_FEATURES = FeatureSpec.model_validate(
    {"exponential_averages": [10], "macd": {}, "atr": 14, "bollinger": {}, "returns": [1, 5]}
)


def bars_of(count: int = 400, seed: int = 1) -> Bars:
    """A random walk whose volume varies too."""
    bars = make_bars(count, seed)
    volume = np.random.default_rng(seed).integers(1, 10_000, count).astype(float)
    return Bars(bars.timestamp, bars.open, bars.high, bars.low, bars.close, volume)


def spliced(bars: Bars, other: Bars, edge: int) -> Bars:
    """The first bars up to ``edge``, the others from there on."""
    columns = (np.concatenate([getattr(bars, n)[:edge], getattr(other, n)[edge:]]) for n in COLUMNS[1:])
    return Bars(bars.timestamp, *columns)


def part_of(bars: Bars, start: int, stop: int | None = None) -> Bars:
    """Some bars out of the middle."""
    return Bars(*(np.ascontiguousarray(getattr(bars, name)[start:stop]) for name in COLUMNS))


def one_feature(name: str) -> FeatureSpec:
    """All but one left out."""
    return FeatureSpec.model_validate({**NO_FEATURES, name: ALL_FEATURES.model_dump()[name]})


def spec_of(**fields: Any) -> BarsTaskParameters:
    """Small parameters, with some changed."""
    content: Any = small_spec(**fields)
    return BarsTaskParameters.model_validate(content["task"]["parameters"])
