"""From bars to samples: parts that do not overlap, scaling of the training part only, several symbols."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_contracts.specs.bars_training import BarsTaskParameters
from milepost_models.bar_files import COLUMNS, Bars, load_bars
from milepost_models.features import first_row
from milepost_models.scaling import scaling_from_json
from milepost_trainer.bars.labels import NONE, compute_labels
from milepost_trainer.bars.preparation import PreparedData, prepare
from milepost_trainer.bars.split import samples_within, spans
from milepost_trainer.bars.task import BarsTask
from milepost_trainer.bars.windows import WindowedData
from milepost_trainer.engine.parts import PARTS, Part
from milepost_trainer.task import TaskContext

from tests.trainer.bars_doubles import bars_of, part_of, spec_of, spliced
from tests.trainer.trainer_doubles import write_bars

pytestmark = pytest.mark.unit


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
    mixed = spliced(bars, other, edge)
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


def thinned(bars: Bars, seed: int, start: int = 0, keep: float = 0.7) -> Bars:
    """A calendar of its own: some bars missing, and none before ``start``."""
    kept = np.random.default_rng(seed).random(len(bars)) < keep
    kept[:start] = False
    return Bars(*(getattr(bars, name)[kept] for name in COLUMNS))


LABELS: tuple[dict[str, Any], ...] = (
    {"name": "direction", "horizon": 3},
    {"name": "return", "horizon": 9},
    {"name": "triple-barrier", "horizon": 12, "volatility": 5},
    {"name": "zigzag", "reversal": 0.02},
)
FULL = (bars_of(420), bars_of(380, 2))


@settings(deadline=None, max_examples=60)
@given(
    label=st.sampled_from(LABELS),
    train=st.floats(0.4, 0.6),
    embargo=st.integers(0, 15),
    seed=st.integers(0, 99),
    start=st.integers(0, 150),
)
def test_no_label_reaches_into_a_later_part(
    label: dict[str, Any], train: float, embargo: int, seed: int, start: int
) -> None:
    """Whatever the label, calendars and lengths: every label is known before any sample of a later part begins."""
    spec = spec_of(label=label, split={"train": train, "validation": 0.2, "embargo": embargo})
    calendars = [thinned(FULL[0], seed), thinned(FULL[1], seed + 1, start)]
    parts = spans([bars.timestamp for bars in calendars], spec.split)
    every = np.unique(np.concatenate([bars.timestamp for bars in calendars]))
    begins: list[list[int]] = [[], [], []]
    ends: list[list[int]] = [[], [], []]
    for bars in calendars:
        labels = compute_labels(bars.close, spec.label)
        for number, span in enumerate(parts):
            rows = samples_within(span, bars.timestamp, labels, 7)
            assert (rows >= 7).all()
            begins[number] += bars.timestamp[rows].tolist()
            ends[number] += bars.timestamp[labels.last_bar[rows]].tolist()
    for earlier, later in ((0, 1), (1, 2)):
        assert begins[later], "nothing to compare with"
        gap = (every > max(ends[earlier])) & (every < min(begins[later]))
        assert max(ends[earlier]) < min(begins[later])
        assert gap.sum() >= embargo


@pytest.mark.parametrize("label", LABELS)
def test_no_sample_is_left_out_without_reason(label: dict[str, Any]) -> None:
    """Only those are missing whose window is not whole, or whose label is unknown or reaches over an edge."""
    spec, bars = spec_of(label=label), FULL[0]
    labels = compute_labels(bars.close, spec.label)
    data = prepared(bars, spec).data
    edges = [0, int(420 * spec.split.train), int(420 * (spec.split.train + spec.split.validation)), 420]
    first = first_row(spec.features) + spec.window - 1
    for number, part in enumerate(PARTS):
        expected = [
            row
            for row in range(max(first, edges[number]), edges[number + 1])
            if labels.last_bar[row] != NONE and labels.last_bar[row] < edges[number + 1]
        ]
        assert getattr(data, part).tolist() == expected


def test_several_symbols_are_split_at_the_same_times() -> None:
    """One that begins late has few training samples, not a split of its own; no window crosses symbols."""
    spec = spec_of(split={"train": 0.6, "validation": 0.2})
    late = thinned(FULL[1], 3, start=150, keep=0.9)
    found = prepare([("early", FULL[0]), ("late", late)], spec)
    times = np.concatenate((FULL[0].timestamp, late.timestamp))
    train, validation, test = (times[getattr(found.data, part).numpy()] for part in PARTS)
    assert train.max() < validation.min() <= validation.max() < test.min()
    assert validation.min() == FULL[0].timestamp[int(420 * 0.6)]
    starts = np.array([0, 420])
    for part in PARTS:
        rows = getattr(found.data, part).numpy()
        begins = rows - spec.window + 1
        assert (np.searchsorted(starts, rows, "right") == np.searchsorted(starts, begins, "right")).all()
        assert {0, 1} == set((rows >= 420).tolist())


def test_a_second_symbol_changes_no_sample_of_the_first_but_its_scale() -> None:
    """With scalings of their own, inputs and targets of each are those of a training on it alone."""
    spec = spec_of(scaling="per-symbol", label="return")
    alone = prepared(FULL[0], spec)
    both = prepare([("one", FULL[0]), ("other", part_of(FULL[1], 0, 380))], spec)
    count = alone.data.count("train")
    inputs, targets = both.data.batch("train", torch.arange(count))
    assert torch.equal(inputs, everything(alone.data, "train")[0])
    assert torch.equal(targets, everything(alone.data, "train")[1])
    assert both.scaling.of("one") == alone.scaling.of("one") != both.scaling.of("other")


def test_a_shared_scaling_is_of_all_that_training_sees() -> None:
    """Mean 0 and deviation 1 over the training rows of all symbols, not of each."""
    spec = spec_of()
    found = prepare([("one", FULL[0]), ("other", FULL[1])], spec)
    rows = found.data.train.numpy()
    seen = np.concatenate(
        [np.arange(own[0] - spec.window + 1, own[-1] + 1) for own in (rows[rows < 420], rows[rows >= 420])]
    )
    scaled = found.data.features[torch.from_numpy(seen)]
    assert scaled.mean(dim=0).abs().max() < 1e-5
    assert (scaled.std(dim=0, correction=0) - 1).abs().max() < 1e-5
    assert scaling_from_json(json.loads(json.dumps(found.scaling.as_json()))) == found.scaling


def test_a_symbol_without_training_bars_has_no_scaling_of_its_own() -> None:
    """It is named, and what can be done; with a shared scaling it is tested on."""
    late = part_of(FULL[1], 290)
    symbols = [("early", FULL[0]), ("late", late)]
    with pytest.raises(ValueError, match=r"late has no bars in the training part.*leave it out, or take"):
        prepare(symbols, spec_of(scaling="per-symbol"))
    assert prepare(symbols, spec_of()).data.count("test") > prepared(FULL[0], spec_of()).data.count("test")


def test_classes_are_counted_and_three_of_them_are_whole_numbers() -> None:
    """The counts are those of the training part; cross entropy of three classes wants their numbers."""
    found = prepared(FULL[0], spec_of(label=LABELS[2]))
    targets = found.data.targets[found.data.train]
    assert targets.dtype == torch.int64
    assert found.class_counts is not None
    assert found.class_counts.tolist() == torch.bincount(targets, minlength=3).tolist()
    assert prepared(FULL[0], spec_of(label="return")).class_counts is None
    assert prepared(FULL[0], spec_of()).data.targets.dtype == torch.float32


def rising(count: int = 400) -> Bars:
    bars = bars_of(count)
    close = np.linspace(100, 200, count)
    return Bars(bars.timestamp, close, close, close, close, bars.volume)


def test_labels_of_one_class_are_refused() -> None:
    """There is nothing to learn from prices that only rise."""
    with pytest.raises(ValueError, match=r"label: all \d+ training samples are of the class up"):
        prepared(rising(), spec_of())


def test_balanced_weights_of_a_class_that_never_occurs_are_refused() -> None:
    """Its weight would be infinite; without weights two classes of three are enough."""
    label = {"name": "triple-barrier", "horizon": 2, "profit": 1000, "stop": 0.5, "volatility": 5}
    loss = {"name": "cross-entropy", "class_weights": "balanced"}
    with pytest.raises(ValueError, match="no training sample is of the class up"):
        prepared(FULL[0], spec_of(label=label, loss=loss))
    assert prepared(FULL[0], spec_of(label=label)).class_counts is not None


def test_features_without_a_value_are_refused() -> None:
    """Prices next to the largest float have no finite average."""
    huge = np.full(400, 1e308)
    bars = Bars(FULL[0].timestamp[:400], huge, huge, huge, huge, bars_of().volume)
    with pytest.raises(ValueError, match=r"spec\.data: one: some bars have no finite .*moving_average_5"):
        prepared(bars, spec_of(label={"name": "return"}))


def test_the_task_needs_bars_and_each_of_them_once(tmp_path: Path) -> None:
    """No dataset, or one twice under two names, is refused."""
    path = tmp_path / "bars.parquet"
    write_bars(path, 30)
    with pytest.raises(ValueError, match="needs a dataset"):
        BarsTask().build(TaskContext(spec_of()))
    with pytest.raises(ValueError, match="a dataset is given twice: a, b"):
        BarsTask().build(TaskContext(spec_of(), inputs=(path, path), names=("a", "b")))


def fields_of(model: Any) -> set[str]:
    """Names of the fields, and of those of the models in them."""
    found: set[str] = set()
    for name, schema in [(None, model), *model.get("$defs", {}).items()]:
        found |= {field for field in schema.get("properties", {}) if name is None or field != "name"}
    return found


def test_the_documentation_names_every_parameter_and_its_example_holds() -> None:
    """All of docs/training-bars.md."""
    text = (Path(__file__).parents[2] / "docs" / "training-bars.md").read_text(encoding="utf-8")
    example = json.loads(text.split("```json")[1].split("```")[0])
    assert BarsTaskParameters.model_validate(example).label.name == "triple-barrier"
    assert fields_of(BarsTaskParameters.model_json_schema()) <= set(re.findall(r"[a-z_]+", text))
