"""The job in the computing child: checkpoints, cancellation, failure, resume, results."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_contracts.specs.training import CHANGEABLE, TrainingSpec
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.errors import CheckpointDamagedError
from milepost_runtime.fingerprints import compare_fingerprints
from milepost_trainer.bars.task import BarsTask
from milepost_trainer.engine.errors import DivergedError
from milepost_trainer.task import BuiltTask
from milepost_trainer.worker import TrainingKind
from safetensors.torch import load_file, save_file

from tests.support.bridge import host_of
from tests.trainer.trainer_doubles import Workplace, cancel_after, small_spec

pytestmark = pytest.mark.unit

MODEL, BEST = "model.safetensors", "best.safetensors"
BY_STEP = {"unit": "step"}
EVERY_TEN = CheckpointPolicySpec(every_units=10, min_seconds=0)


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def run_to_end(place: Workplace, **spec: Any) -> Any:
    job = place.job(**spec)
    assert job.run(host_of(place.sink(), job.total_units)) is True
    return job


def cut_at(place: Workplace, unit: int, checkpoint: LoadedCheckpoint | None = None, /, **spec: Any) -> Any:
    """Run until ``unit`` and return the cancellation checkpoint."""
    job, sink = place.job(**spec), place.sink()
    if checkpoint is not None:
        job.restore_from_checkpoint(checkpoint)
    assert job.run(host_of(sink, job.total_units, token=cancel_after(unit))) is False
    assert sink.saved == [(unit, CheckpointReason.CANCELLATION)]
    return sink.checkpoints[-1]


def resumed(place: Workplace, checkpoint: LoadedCheckpoint, /, **spec: Any) -> Any:
    job = place.job(**spec)
    job.restore_from_checkpoint(checkpoint)
    assert job.run(host_of(place.sink(), job.total_units)) is True
    return job


def test_fifteen_epochs_have_a_checkpoint_at_ten(place: Workplace) -> None:
    """15 epochs with a checkpoint every 10 have exactly one periodic checkpoint, at epoch 10."""
    sink = place.sink()
    assert place.job().run(host_of(sink, 15, policy=EVERY_TEN)) is True
    assert sink.saved == [(10, CheckpointReason.PERIODIC)]
    assert sink.new_names == [["state.json", MODEL, "optimizer.safetensors", BEST, "rest.safetensors"]]


VARIANTS: dict[str, dict[str, Any]] = {
    "lstm": {"model": {"family": "lstm", "hidden_size": 8, "layers": 2, "dropout": 0.2}},
    "gru": {"model": {"family": "gru", "hidden_size": 8, "layers": 1, "normalization": "layer"}},
    "tcn": {"model": {"family": "tcn", "hidden_size": 8, "layers": 3, "dropout": 0.1}},
    "transformer": {"model": {"family": "transformer", "hidden_size": 8, "heads": 2, "dropout": 0.1}},
    "three classes, focal loss and noise": {
        "label": {"name": "triple-barrier", "horizon": 4, "volatility": 8},
        "loss": {"name": "focal", "class_weights": "balanced"},
        "augmentation": {"noise": 0.1},
    },
    "mlp with batch normalization": {"model": {"hidden_size": 8, "layers": 2, "normalization": "batch"}},
    "adam": {"optimizer": {"name": "adam", "weight_decay": 0.01}},
    "sgd": {"optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}},
    "sgd without momentum": {"optimizer": {"name": "sgd", "learning_rate": 0.05}},
    "rmsprop": {"optimizer": {"name": "rmsprop", "momentum": 0.5}},
    "step": {"scheduler": {"name": "step", "every_epochs": 4}},
    "cosine": {"scheduler": {"name": "cosine", "minimum": 1e-5}},
    "plateau": {"scheduler": {"name": "plateau", "patience": 0}},
    "one-cycle": {"scheduler": {"name": "one-cycle"}},
    "bfloat16 and averaging": {"precision": "bfloat16", "averaging": {"decay": 0.9}},
    "regression": {"label": "return", "gradient_clip": 0.5},
    "steps and accumulation": {"checkpoint": BY_STEP, "accumulation": 2, "epochs": 5},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_three_resumes_in_a_row_end_as_undisturbed(place: Workplace, name: str) -> None:
    """Every model, optimizer and schedule, in the middle of an epoch too: the same result files, bit for bit."""
    spec = VARIANTS[name]
    checkpoint = None
    for unit in (1, 7, 13):
        checkpoint = cut_at(place, unit, checkpoint, **spec)
    job = resumed(place, checkpoint, **spec)
    assert place.digests(job) == place.digests(run_to_end(place, **spec))


@pytest.mark.parametrize("seed", range(8))
def test_random_cuts_end_as_undisturbed(place: Workplace, seed: int) -> None:
    """Cut three times at random optimizer steps, most of them in the middle of an epoch: the same result files."""
    generator = np.random.default_rng(seed)
    family = ("mlp", "lstm", "gru", "tcn")[seed % 4]
    spec: dict[str, Any] = {
        "model": {"family": family, "hidden_size": 8, "layers": 2, "dropout": 0.3},
        "accumulation": int(generator.integers(1, 4)),
        "scheduler": {"name": ("plateau", "cosine")[seed % 2]},
        "epochs": 6,
        "checkpoint": BY_STEP,
    }
    whole = run_to_end(place, **spec)
    units = generator.choice(np.arange(1, whole.total_units), 3, replace=False)
    checkpoint = None
    for unit in sorted(units.tolist()):
        checkpoint = cut_at(place, unit, checkpoint, **spec)
    assert place.digests(resumed(place, checkpoint, **spec)) == place.digests(whole)


@pytest.mark.parametrize("unit", [0, 1, 14])
def test_cancelled_at_the_edges_and_resumed(place: Workplace, unit: int) -> None:
    """Before the first epoch, after it and before the last: the same files."""
    job = resumed(place, cut_at(place, unit))
    assert place.digests(job) == place.digests(run_to_end(place))


def test_where_boundaries_are_changes_nothing(place: Workplace) -> None:
    """With a report after each epoch or one at the end, with checkpoints or without: the same files."""
    one, other = place.job(), place.job()
    one.run(host_of(place.sink(), 15, policy=CheckpointPolicySpec(every_units=1, min_seconds=0)))
    other._trainer.advance(15)
    assert place.digests(one) == place.digests(other)


STOPPING: dict[str, Any] = {
    "early_stopping": {"patience": 4, "minimum_improvement": 0.02},
    "epochs": 60,
    "optimizer": {"learning_rate": 0.01},
}


def test_early_stopping_triggers_after_a_resume_as_without(place: Workplace) -> None:
    """A run cut while it waits for an improvement stops at the same epoch with the same best model."""
    whole = run_to_end(place, **STOPPING)
    end = whole.total_units
    summary = whole.write_results(place.directory).summary
    assert summary["stopped_early"] is True
    assert summary["best_epoch"] == end - 4 < end < 60
    for unit in (end - 3, end - 1):
        job = resumed(place, cut_at(place, unit, **STOPPING), **STOPPING)
        assert job.total_units == end
        assert place.digests(job) == place.digests(whole)


DIVERGING: dict[str, Any] = {
    "label": "return",
    "optimizer": {"name": "sgd", "learning_rate": 30.0, "momentum": 0.9},
    "checkpoint": BY_STEP,
}


def test_a_loss_that_is_not_finite_fails_with_the_last_good_unit_saved(place: Workplace) -> None:
    """The error says what happened and where; the checkpoint is of the unit before, and it leads there again."""
    job, sink = place.job(**DIVERGING), place.sink()
    with pytest.raises(DivergedError, match=r"not finite; .* in epoch \d+, micro-batch \d+ of \d+") as first:
        job.run(host_of(sink, job.total_units))
    assert [reason for _, reason in sink.saved] == [CheckpointReason.FAILURE]
    checkpoint = sink.checkpoints[-1]

    again, later = place.job(**DIVERGING), place.sink()
    again.restore_from_checkpoint(checkpoint)
    with pytest.raises(DivergedError) as second:
        again.run(host_of(later, again.total_units))
    assert str(second.value) == str(first.value)
    assert later.saved == [(checkpoint.unit, CheckpointReason.FAILURE)]
    finite = all(bool(value.isfinite().all()) for value in load_file(checkpoint.path(MODEL)).values())
    assert finite


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def lose_a_tensor(path: Path) -> None:
    tensors = load_file(path)
    del tensors["layers.1.weight"]
    save_file({name: value.clone() for name, value in tensors.items()}, path)


def change_a_shape(path: Path) -> None:
    tensors = {name: value.clone() for name, value in load_file(path).items()}
    save_file({**tensors, "layers.1.bias": tensors["layers.1.bias"][:3].clone()}, path)


DAMAGE = {
    "truncated": (MODEL, shorten, "(?i)metadata|buffer|header"),
    "gone": (MODEL, Path.unlink, "(?i)no such file"),
    "no tensors": (MODEL, lambda path: path.write_bytes(b""), "(?i)header"),
    "a pickle": (MODEL, lambda path: path.write_bytes(b"\x80\x04K\x01."), "(?i)header"),
    "a tensor lost": (MODEL, lose_a_tensor, "model.layers.1.weight is missing"),
    "another shape": (BEST, change_a_shape, r"best.layers.1.bias is torch.float32 \(3,\)"),
    "no JSON": ("state.json", shorten, "(?i)delimiter|expecting|unterminated"),
    "values lost": ("state.json", lambda path: path.write_bytes(b"{}"), "best_epoch, best_loss, epoch"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_refused_in_words(place: Workplace, kind: str) -> None:
    """Whatever is wrong with its files, it is a damaged checkpoint, and what is wrong is named."""
    name, damage, words = DAMAGE[kind]
    checkpoint = cut_at(place, 3)
    damage(checkpoint.path(name))
    with pytest.raises(CheckpointDamagedError, match=words):
        place.job().restore_from_checkpoint(checkpoint)


def test_a_state_of_another_unit_is_refused(place: Workplace) -> None:
    """A checkpoint on record for epoch 4 that holds epoch 3 is damaged."""
    found = cut_at(place, 3)
    wrong = LoadedCheckpoint(4, found.directory, found.artifacts, found.fingerprint)
    with pytest.raises(CheckpointDamagedError, match="the state is of unit 3, not 4"):
        place.job().restore_from_checkpoint(wrong)


BAD_SPECS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "several at once": (
        {"epochs": 0, "optimizer": {"learning_rate": 0}},
        ["spec.epochs", "spec.optimizer.learning_rate"],
    ),
    "misspelt": ({"epoch": 3}, ["spec.epoch"]),
    "momentum of adam": ({"optimizer": {"name": "adam", "momentum": 0.9}}, ["adam has no momentum to set"]),
    "no test part": ({"split": {"train": 0.8, "validation": 0.2}}, ["must leave bars for the test"]),
    "no feature": (
        {
            "features": {
                "returns": [],
                "moving_averages": [],
                "log_volume": False,
                "rsi": None,
                "zscore": None,
            }
        },
        ["choose at least one feature"],
    ),
    "a feature twice": (
        {"features": {"returns": [2, 2]}},
        ["returns: the same number of bars is given twice"],
    ),
    "too few bars": ({"window": 290}, ["300 bars are too few", "the train part has 0 samples"]),
    "unpinned data": ({"data": {"name": "aapl"}}, ["spec.data: aapl not among the inputs"]),
}


@pytest.mark.parametrize("kind", BAD_SPECS)
def test_a_bad_spec_is_refused_with_every_problem(place: Workplace, kind: str) -> None:
    """Whatever is wrong with a spec is in the message, all of it."""
    options, words = BAD_SPECS[kind]
    with pytest.raises(ValueError, match=r"\w") as refusal:
        place.job(**options)
    for word in words:
        assert word in str(refusal.value)


def no_parameter_to_train(built: BuiltTask) -> BuiltTask:
    built.parts.model.requires_grad_(False)
    return built


UNUSABLE: dict[str, tuple[Callable[[BuiltTask], BuiltTask], str]] = {
    "a tuple in the card": (
        lambda built: replace(built, card={**built.card, "shape": {"window": (1, 2)}}),  # pyright: ignore[reportArgumentType]
        r"card cannot be written to model.json: .*shape.*window",
    ),
    "a figure of numpy in the card": (
        lambda built: replace(built, card={"scale": [np.float32(0.5)]}),  # pyright: ignore[reportArgumentType]
        r"card cannot be written to model.json: .*scale",
    ),
    "nothing to train": (no_parameter_to_train, "no parameter that needs a gradient"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_a_task_builds_is_refused_before_the_training(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """What could not be trained, or not be written at the end, is invalid input from the beginning."""
    spoil, words = UNUSABLE[kind]
    build = BarsTask.build
    monkeypatch.setattr(BarsTask, "build", lambda self, context: spoil(build(self, context)))
    with pytest.raises(ValueError, match=words):
        place.job()


def test_results_can_be_read(place: Workplace) -> None:
    """History, figures and model description hold what the run did."""
    job = run_to_end(place)
    directory = place.directory / "out"
    directory.mkdir()
    summary = job.write_results(directory).summary
    history = pq.read_table(directory / "history.parquet").to_pylist()
    assert [entry["epoch"] for entry in history] == list(range(1, 16))
    best = min(history, key=lambda entry: entry["validation_loss"])
    assert json.loads((directory / "metrics.json").read_bytes()) == summary
    assert summary["best_epoch"] == best["epoch"]
    assert summary["validation"]["loss"] == best["validation_loss"]
    assert summary["validation"]["accuracy"] == best["validation_accuracy"]
    assert set(summary["test"]) == {"loss", "accuracy", "samples"}
    card = json.loads((directory / "model.json").read_bytes())
    assert len(card["scaling"]["mean"]) == len(card["scaling"]["features"]) == 6
    assert card["data"] == [place.digest]
    assert (
        load_file(directory / "model.safetensors").keys() == load_file(directory / "last.safetensors").keys()
    )


def test_progress_tells_the_newest_figures(place: Workplace) -> None:
    """Reports have losses, learning rate and score; the last one is of the last epoch."""
    sink = place.sink()
    place.job().run(host_of(sink, 15))
    unit, metrics = sink.reported[-1]
    assert unit == metrics["epoch"] == 15
    assert {"train_loss", "validation_loss", "validation_accuracy", "learning_rate"} <= set(metrics)


def test_the_kind_is_known_without_heavy_imports() -> None:
    """A host that only finds the kind loads no torch, pandas, numpy or pyarrow; what is described can be used."""
    code = (
        "import sys, json\n"
        "from milepost_runtime.worker.kinds import load_kind\n"
        "kind = load_kind('training')\n"
        "heavy = [n for n in ('pandas', 'torch', 'numpy', 'pyarrow', 'safetensors') if n in sys.modules]\n"
        "print(json.dumps([heavy, kind.describe().model_dump(mode='json')]))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy, kind = json.loads(output)
    assert heavy == []
    assert (kind["dataset_fields"], kind["unit_name"]) == (["data"], "epoch")
    assert TrainingSpec.model_validate(kind["example"]).task.parameters["model"]["family"] == "lstm"
    assert TrainingSpec.model_validate({"data": {"name": "x"}, **small_spec()}).epochs == 15
    TrainingKind().warm_up()


FORKS: dict[str, dict[str, Any]] = {
    "epochs": {"epochs": 20},
    "optimizer.learning_rate": {"optimizer": {"learning_rate": 0.02}},
    "optimizer.weight_decay": {"optimizer": {"weight_decay": 0.2}},
    "early_stopping": {"early_stopping": {"patience": 2}},
    "gradient_clip": {"gradient_clip": 0.01},
    "scheduler.minimum": {"scheduler": {"name": "cosine", "minimum": 0.0005}},
    "threads": {"threads": 2},
}


def test_every_changeable_field_exists() -> None:
    """What a fork may change is a field of the spec, or one beneath it."""
    fields = TrainingSpec.model_validate({"data": {"name": "x"}}).model_dump()
    for path in CHANGEABLE:
        top, _, rest = path.partition(".")
        assert top in fields
        assert not rest or rest in fields[top]


@pytest.mark.parametrize("field", FORKS)
def test_a_fork_goes_on_with_the_changed_setting(place: Workplace, field: str) -> None:
    """Only the named entries differ; epochs before stay as they were, and those after it are other ones."""
    before: dict[str, Any] = {"scheduler": {"name": "cosine"}} if field.startswith("scheduler") else {}
    checkpoint = cut_at(place, 6, **before)
    fork = place.job(**FORKS[field])
    found = compare_fingerprints(checkpoint.fingerprint, fork.fingerprint)
    assert [words.split()[0] for words in found.others] == [*CHANGEABLE[field]]
    fork.restore_from_checkpoint(checkpoint)
    assert fork.run(host_of(place.sink(), fork.total_units)) is True
    plain, forked = run_to_end(place, **before)._trainer.history, fork._trainer.history
    assert forked[:6] == plain[:6]
    if field == "threads":
        assert len(forked) == len(plain)  # the same sums in another order: other bits at most
    else:
        assert forked[6:] != plain[6:]
