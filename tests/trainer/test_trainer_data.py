"""From bars to samples: formulas, no look-ahead, parts that do not overlap, scaling of the training part only."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from milepost_contracts.specs.bars_training import BarsTaskParameters
from milepost_trainer.bars.bar_files import COLUMNS, Bars, load_bars
from milepost_trainer.bars.features import first_row
from milepost_trainer.bars.preparation import PreparedData, prepare
from milepost_trainer.bars.windows import WindowedData
from milepost_trainer.engine.parts import Part

from tests.support.bars import make_bars
from tests.trainer.trainer_doubles import small_spec, write_bars

pytestmark = pytest.mark.unit


def bars_of(count: int = 400, seed: int = 1) -> Bars:
    bars = make_bars(count, seed)
    volume = np.random.default_rng(seed).integers(1, 10_000, count).astype(float)
    return Bars(bars.timestamp, bars.open, bars.high, bars.low, bars.close, volume)


def spec_of(**fields: Any) -> BarsTaskParameters:
    content: Any = small_spec(**fields)
    return BarsTaskParameters.model_validate(content["task"]["parameters"])


def everything(data: WindowedData, part: Part) -> tuple[torch.Tensor, torch.Tensor]:
    return data.batch(part, torch.arange(data.count(part)))


def prepared(bars: Bars, spec: BarsTaskParameters) -> PreparedData:
    return prepare([("one", bars)], spec)


@pytest.mark.parametrize("embargo", [0, 7])
@pytest.mark.parametrize("horizon", [1, 9])
def test_parts_do_not_reach_into_each_other(horizon: int, embargo: int) -> None:
    """Each label is known before the next part begins, and the embargo lies between."""
    spec = spec_of(horizon=horizon, split={"train": 0.6, "validation": 0.2, "embargo": embargo})
    data = prepared(bars_of(), spec).data
    train, validation, test = data.train, data.validation, data.test
    assert train[0] == first_row(spec.features) + spec.window - 1
    assert (train[-1] + horizon, validation[0]) == (239, 240 + embargo)
    assert (validation[-1] + horizon, test[0]) == (319, 320 + embargo)
    assert test[-1] + horizon == 399


@pytest.mark.parametrize("label", ["direction", "return"])
def test_training_samples_know_nothing_of_later_parts(label: str) -> None:
    """With all bars after the training part replaced, scaling, inputs and targets of training are the same."""
    spec = spec_of(label=label)
    bars, other = bars_of(), bars_of(seed=3)
    edge = int(400 * spec.split.train)
    mixed = Bars(
        bars.timestamp,
        *(np.concatenate([getattr(bars, n)[:edge], getattr(other, n)[edge:]]) for n in COLUMNS[1:]),
    )
    was, now = prepared(bars, spec), prepared(mixed, spec)
    assert was.scaling == now.scaling
    for first, second in zip(everything(was.data, "train"), everything(now.data, "train"), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(everything(was.data, "test")[0], everything(now.data, "test")[0])


def test_training_inputs_are_scaled() -> None:
    """Over the bars that training sees, each feature has mean 0 and deviation 1."""
    data = prepared(bars_of(), spec_of(label="return")).data
    seen = data.features[int(data.train[0]) - data.window + 1 : int(data.train[-1]) + 1]
    assert seen.mean(dim=0).abs().max() < 1e-5
    assert (seen.std(dim=0, correction=0) - 1).abs().max() < 1e-5
    assert float(data.targets[data.train].std(correction=0)) == pytest.approx(1.0, abs=1e-5)


def test_a_sample_is_the_window_that_ends_at_its_bar() -> None:
    """The last row of the inputs is the sample's own bar."""
    data = prepared(bars_of(), spec_of()).data
    inputs, targets = data.batch("train", torch.arange(3))
    index = int(data.train[1])
    assert torch.equal(inputs[1], data.features[index - data.window + 1 : index + 1])
    assert targets[1] == data.targets[index]


def test_too_few_bars_are_refused_for_each_part() -> None:
    """Every part that has no samples is named."""
    with pytest.raises(ValueError, match=r"30 bars are too few: .*validation part.*test part"):
        prepared(bars_of(30), spec_of(horizon=8))


BAD_BARS = {
    "the timestamps do not ascend": lambda bars: replace(bars, timestamp=bars.timestamp[::-1].copy()),
    "close is not positive in bar 1": lambda bars: replace(bars, close=np.zeros(len(bars))),
    "a volume is negative or not finite": lambda bars: replace(bars, volume=np.full(len(bars), np.nan)),
}


@pytest.mark.parametrize("words", BAD_BARS)
def test_bars_that_cannot_be_used_are_refused(words: str, tmp_path: Path) -> None:
    """The fault is named."""
    bars = BAD_BARS[words](bars_of(20))
    path = tmp_path / "bars.parquet"
    times = pa.array(bars.timestamp, type=pa.timestamp("ns", tz="UTC"))
    pq.write_table(pa.table({"timestamp": times, **{n: getattr(bars, n) for n in COLUMNS[1:]}}), path)
    with pytest.raises(ValueError, match=words):
        load_bars(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """No Parquet, and Parquet of another shape, are refused in words; canonical bars are read."""
    path = tmp_path / "bars.parquet"
    path.write_bytes(b"no bars")
    with pytest.raises(ValueError, match="not a Parquet file"):
        load_bars(path)
    pq.write_table(pa.table({"close": [1.0]}), path)
    with pytest.raises(ValueError, match="not canonical: close double"):
        load_bars(path)
    write_bars(path, 30)
    assert len(load_bars(path)) == 30
