"""Result files: the same bytes each time, a curve, and a model that predicts as it did in the training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from milepost_contracts.model import JsonObject
from milepost_contracts.specs.training import TrainingSpec
from milepost_models.bar_files import Bars, load_bars
from milepost_models.inference import BLOCK_BARS, Predictor, load_model
from milepost_trainer.bars.task import BarsTask
from milepost_trainer.engine.trainer import ModelTrainer
from milepost_trainer.loss_curve import draw_losses
from milepost_trainer.results import RESULT_FILES, write_results
from milepost_trainer.specs import training_settings
from milepost_trainer.task import TaskContext

from tests.trainer.bars_doubles import part_of, spec_of
from tests.trainer.trainer_doubles import small_spec, write_bars

pytestmark = pytest.mark.unit

FAMILIES = ("mlp", "lstm", "gru", "tcn", "transformer")
BARRIERS: JsonObject = {"name": "triple-barrier", "horizon": 4, "volatility": 8}


class Trained:
    """A short training over two symbols, and its result files."""

    def __init__(self, directory: Path, **fields: Any) -> None:
        self.directory = directory
        paths = (directory / "one.parquet", directory / "other.parquet")
        for seed, path in enumerate(paths):
            write_bars(path, 300 + 50 * seed, seed)
        self.bars: tuple[Bars, ...] = tuple(load_bars(path) for path in paths)
        names = ("one", "other")
        self.spec = TrainingSpec.model_validate(
            {**small_spec(**{"epochs": 3, **fields}), "data": [{"name": name} for name in names]}
        )
        parameters = spec_of(**fields)
        self.built = BarsTask().build(TaskContext(parameters, seed=3, inputs=paths, names=names))
        self.trainer = ModelTrainer(self.built.parts, training_settings(self.spec, device="cpu"))
        self.trainer.fit()
        self.summary = write_results(self.trainer, self.spec, self.built.card, directory)

    def outputs(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Validation rows over all symbols, and what the best model of the training gives for each of them.

        Each is computed at its bar's place in a batch of ``BLOCK_BARS``, as a loaded model does; whole batches of
        validation rows round otherwise on some processors.
        """
        model, data = self.trainer.model, self.built.parts.data
        model.load_state_dict(self.trainer.best_weights())
        model.eval()
        rows, found = data.validation.numpy(), list[torch.Tensor]()
        with torch.no_grad():
            for chosen in blocks_of(rows, first_bars=len(self.bars[0])):
                samples = torch.full((BLOCK_BARS,), int(chosen[0]))
                places = (rows[chosen] - (rows[chosen] >= len(self.bars[0])) * len(self.bars[0])) % BLOCK_BARS
                samples[torch.from_numpy(places)] = torch.from_numpy(chosen)
                found.append(model(data.batch("validation", samples)[0])[torch.from_numpy(places)])
            whole = model(data.batch("validation", torch.arange(len(rows)))[0])
        outputs = torch.cat(found)
        assert torch.allclose(outputs, whole, rtol=1e-4, atol=1e-5)
        return rows, outputs.numpy()

    def predictor(self) -> Predictor:
        return load_model(self.directory)


def blocks_of(rows: np.ndarray[Any, Any], *, first_bars: int) -> list[np.ndarray[Any, Any]]:
    """Positions in ``rows`` of those that share a symbol and a block, in order."""
    second = rows >= first_bars
    names = second * len(rows) + (rows - second * first_bars) // BLOCK_BARS
    return [np.flatnonzero(names == name) for name in np.unique(names)]


FIELDS: dict[str, dict[str, Any]] = {
    **{family: {"model": {"family": family, "hidden_size": 12, "layers": 2}} for family in FAMILIES},
    "batch normalization": {"model": {"hidden_size": 12, "normalization": "batch", "dropout": 0.1}},
    "three classes": {"label": BARRIERS, "loss": {"name": "focal", "class_weights": "balanced"}},
    "returns, each symbol scaled": {"label": "return", "scaling": "per-symbol"},
    "noise and an average of weights": {"augmentation": {"noise": 0.1}, "averaging": {"decay": 0.9}},
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_loaded_model_predicts_what_the_trained_one_did(name: str, tmp_path: Path) -> None:
    """From the files alone: the same outputs, bit for bit, whatever else is predicted with them."""
    trained = Trained(tmp_path, **FIELDS[name])
    rows, expected = trained.outputs()
    predictor = trained.predictor()
    first, other = trained.bars
    ours = rows < len(first)
    assert 0 < ours.sum() < len(rows)
    for symbol, bars, chosen, start in (("one", first, ours, 0), ("other", other, ~ours, len(first))):
        found = predictor.predict(bars, symbol=symbol, rows=rows[chosen] - start)
        whole = predictor.predict(bars, symbol=symbol)
        assert found.outputs.tobytes() == expected[chosen].tobytes()
        assert whole.outputs[found.rows - predictor.first_row].tobytes() == found.outputs.tobytes()
    assert predictor.version_differences == ()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("trained"))


@pytest.mark.parametrize("bars", [60, 61, 150, 299])
def test_a_prediction_never_looks_ahead(trained: Trained, bars: int) -> None:
    """With later bars or without, the prediction at a bar is the same bit for bit."""
    predictor = trained.predictor()
    whole = predictor.predict(trained.bars[0])
    found = predictor.predict(part_of(trained.bars[0], 0, bars))
    assert len(found.rows) == bars - predictor.first_row > 0
    assert found.outputs.tobytes() == whole.outputs[: len(found.rows)].tobytes()


def test_probabilities_depend_on_nothing_else_that_is_asked_for(trained: Trained, monkeypatch) -> None:
    """Also where torch shares the work between threads, whose ends round otherwise."""
    predictor = trained.predictor()

    def outputs(_: Any, number: int) -> torch.Tensor:
        return torch.randn(BLOCK_BARS, generator=torch.Generator().manual_seed(number))

    monkeypatch.setattr(predictor, "_block_outputs", outputs)
    seen = predictor.rows_of(trained.bars[0])
    rows = np.arange(400 * BLOCK_BARS)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        whole = predictor.predict_rows(seen, rows).probabilities
        for start in range(0, len(rows), BLOCK_BARS):
            part = predictor.predict_rows(seen, rows[start : start + BLOCK_BARS]).probabilities
            assert part.tobytes() == whole[start : start + BLOCK_BARS].tobytes()
    finally:
        torch.set_num_threads(threads)


def test_classes_are_predicted_as_probabilities_and_returns_as_returns(
    trained: Trained, tmp_path: Path
) -> None:
    """What was scaled for the training is given back in its own unit."""
    found = trained.predictor().predict(trained.bars[0])
    assert found.returns is None
    assert found.probabilities is not None
    assert found.probabilities.shape == (len(found.rows), len(trained.predictor().classes))
    assert ((found.probabilities[:, 1] > 0.5) == (found.outputs > 0)).all()
    regression = Trained(tmp_path, label="return", scaling="per-symbol")
    one, other = (
        regression.predictor().predict(regression.bars[0], symbol=name) for name in ("one", "other")
    )
    assert one.probabilities is None
    assert one.returns is not None
    assert other.returns is not None
    ratio = one.returns / one.outputs.astype(np.float64)
    assert np.allclose(ratio, ratio[0])
    assert 0 < ratio[0] < 0.1
    with pytest.raises(ValueError, match="no scaling was fitted for 'third'; there is one for: one, other"):
        regression.predictor().predict(regression.bars[0], symbol="third")


def test_predictions_agree_with_the_reported_figures(trained: Trained) -> None:
    """The accuracy of predictions at the test part's bars is the one in metrics.json."""
    data, predictor = trained.built.parts.data, trained.predictor()
    rows, start, hits = data.test.numpy(), 0, 0
    for bars in trained.bars:
        ours = rows[(rows >= start) & (rows < start + len(bars))]
        outputs = predictor.predict(bars, rows=ours - start).outputs
        hits += int(((outputs > 0) == (data.targets[ours].numpy() > 0.5)).sum())
        start += len(bars)
    figures = json.loads((trained.directory / "metrics.json").read_bytes())
    assert figures["test"]["accuracy"] == pytest.approx(hits / len(rows))
    assert set(figures) >= {"validation", "test", "best_epoch", "epochs"}


def test_rows_that_cannot_be_predicted_are_refused(trained: Trained) -> None:
    """Too early and too late ones are named with those that can be; too few bars give no predictions."""
    predictor = trained.predictor()
    for row in (predictor.first_row - 1, 300):
        with pytest.raises(ValueError, match=f"at bars {predictor.first_row} to 299 only, not at {row}"):
            predictor.predict(trained.bars[0], rows=np.array([row]))
    found = predictor.predict(part_of(trained.bars[0], 0, predictor.first_row))
    assert len(found.rows) == len(found.outputs) == 0


def copy_of(trained: Trained, directory: Path) -> Path:
    for name in ("model.json", "model.safetensors"):
        (directory / name).write_bytes((trained.directory / name).read_bytes())
    return directory


def changed_card(directory: Path, **fields: Any) -> Path:
    card = json.loads((directory / "model.json").read_bytes())
    (directory / "model.json").write_text(json.dumps({**card, **fields}))
    return directory


def test_models_that_are_not_whole_are_refused(trained: Trained, tmp_path: Path) -> None:
    """Damaged, missing, of another shape or of another task: each with its reason."""
    directory = copy_of(trained, tmp_path)
    parameters = json.loads((directory / "model.json").read_bytes())["parameters"]
    with pytest.raises(ValueError, match="of the task digits 1, not of bars 1"):
        load_model(changed_card(directory, task="digits"))
    wider = {**parameters, "model": {**parameters["model"], "hidden_size": 9}}
    with pytest.raises(ValueError, match="size mismatch"):
        load_model(changed_card(copy_of(trained, tmp_path), parameters=wider))
    (copy_of(trained, tmp_path) / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_model(tmp_path)
    (tmp_path / "model.json").write_bytes(b"{")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_model(tmp_path)
    (tmp_path / "model.json").unlink()
    with pytest.raises(ValueError, match=r"model\.json"):
        load_model(tmp_path)


def test_other_versions_are_named(trained: Trained, tmp_path: Path) -> None:
    """The model still loads; whoever needs equal bits can see that they are not promised."""
    directory = changed_card(copy_of(trained, tmp_path), data_versions={"ta_lib": "0.4.0 (0.4)"})
    assert load_model(directory).version_differences == ("ta_lib was 0.4.0 (0.4) and is 0.8.2 (0.8.1)",)


def test_the_same_training_writes_the_same_bytes(trained: Trained, tmp_path: Path) -> None:
    """All result files, the picture too."""
    again = Trained(tmp_path)
    assert again.summary == trained.summary
    for name in RESULT_FILES:
        assert (tmp_path / name).read_bytes() == (trained.directory / name).read_bytes(), name


def test_the_history_has_every_epoch_and_every_figure(trained: Trained) -> None:
    """A row for each epoch, in order."""
    table = pq.read_table(trained.directory / "history.parquet")
    assert table.column_names[:4] == ["epoch", "learning_rate", "train_loss", "validation_loss"]
    assert "validation_accuracy" in table.column_names
    assert table["epoch"].to_pylist() == [1, 2, 3]


HISTORIES: dict[str, dict[str, list[float]]] = {
    "none": {"epoch": [], "train_loss": [], "validation_loss": [], "learning_rate": []},
    "one": {"epoch": [1], "train_loss": [0.7], "validation_loss": [0.6], "learning_rate": [0.1]},
    "many, steep, no rate left": {
        "epoch": list(range(1, 101)),
        "train_loss": [100.0 / epoch**2 for epoch in range(1, 101)],
        "validation_loss": [100.0 / epoch for epoch in range(1, 101)],
        "learning_rate": [0.0] * 100,
    },
}


@pytest.mark.parametrize("name", HISTORIES)
def test_any_history_can_be_drawn(name: str, tmp_path: Path) -> None:
    """A picture that says neither when nor with which version it was drawn, so its bytes are the same again."""
    history = HISTORIES[name]
    for path in (tmp_path / "first.png", tmp_path / "second.png"):
        draw_losses(history, min(1, len(history["epoch"])), path)
    content = (tmp_path / "first.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert content == (tmp_path / "second.png").read_bytes()
    assert b"tEXt" not in content
    assert b"tIME" not in content
