"""The engine as an ordinary object: order, accumulation, clipping, schedules, stopping, failures, manners."""

import math
from dataclasses import replace

import pytest
import torch
from milepost_models.families import ModelSettings
from milepost_trainer.bars.windows import WindowedData
from milepost_trainer.engine.errors import DivergedError, StateMismatchError, TornStateError, TrainingError
from milepost_trainer.engine.order import permutation
from milepost_trainer.engine.parts import TrainingParts
from milepost_trainer.engine.schedules import Schedule
from milepost_trainer.engine.settings import OptimizerSettings, ScheduleSettings
from milepost_trainer.engine.state import TrainerState
from milepost_trainer.engine.trainer import ModelTrainer
from torch import nn
from torch.nn import functional

from tests.trainer.initial_models import initial_model
from tests.trainer.trainer_doubles import DATA, QUICK, SMALL, digest_of, make_data, make_trainer

pytestmark = pytest.mark.unit


class Watcher(nn.Module):
    """A linear model that keeps every training input it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.seen: list[torch.Tensor] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen.append(inputs[:, -1].clone())
        return inputs[:, -1] @ self.weight


def plain(model: nn.Module, **settings: object) -> ModelTrainer:
    base = replace(
        QUICK, optimizer=OptimizerSettings("sgd", 0.1), schedule=ScheduleSettings(), gradient_clip=None
    )
    return ModelTrainer(TrainingParts(model, DATA, functional.mse_loss), replace(base, **settings))


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
@pytest.mark.parametrize("family", ["mlp", "lstm", "gru", "tcn"])
def test_each_model_follows_from_its_seed_and_sees_every_row(family: str, normalization: str) -> None:
    """One number for each sample; another seed gives other weights; changing any row changes the output."""
    settings = ModelSettings(family, hidden_size=8, layers=2, normalization=normalization)
    model, same, other = (
        initial_model(settings, features=3, window=4, seed=seed).eval() for seed in (1, 1, 2)
    )
    inputs = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(3))
    outputs = model(inputs)
    assert outputs.shape == (5,)
    assert torch.equal(outputs, same(inputs))
    assert not torch.equal(outputs, other(inputs))
    for row in range(4):
        changed = inputs.clone()
        changed[:, row] += 1.0
        assert (model(changed) != outputs).any()


def test_fit_reports_each_unit_and_returns_the_history() -> None:
    """A notebook needs a model, data and settings; each unit is reported once, in order."""
    reported: list[int] = []
    trainer = make_trainer()
    history = trainer.fit(lambda unit, metrics: reported.append(unit))
    assert reported == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [entry["epoch"] for entry in history] == reported
    assert trainer.finished
    with pytest.raises(RuntimeError, match="has finished"):
        trainer.step()


def test_each_epoch_sees_every_sample_once_in_another_order() -> None:
    """Also across a resume in the middle of an epoch: nothing is repeated, nothing skipped."""
    first = plain(Watcher())
    for _ in range(3):
        first.step()
    second = plain(Watcher())
    second.load_state_dict(first.state_dict())
    second.advance(2)
    seen = torch.cat([*first.model.seen, *second.model.seen])
    rows = DATA.features[DATA.train]
    one, two = seen[:110], seen[110:]
    assert sorted(one.tolist()) == sorted(two.tolist()) == sorted(rows.tolist())
    assert not torch.equal(one, two)


def test_the_order_follows_from_seed_and_epoch() -> None:
    """The same arguments give the same permutation; another seed or epoch gives another."""
    assert torch.equal(permutation(1, 2, 50), permutation(1, 2, 50))
    assert not torch.equal(permutation(1, 2, 50), permutation(2, 1, 50))
    assert sorted(permutation(1, 3, 50).tolist()) == list(range(50))


def test_accumulated_micro_batches_make_the_step_of_one_large_batch() -> None:
    """Three micro-batches of 16 change the weights as one batch of 48 does, but for rounding."""
    small, large = plain(Watcher()), plain(Watcher(), batch_size=48, accumulation=1)
    for _ in range(3):
        small.step()
    large.step()
    assert torch.allclose(small.model.weight, large.model.weight, rtol=1e-5, atol=1e-7)
    assert float(small.model.weight.detach().abs().max()) > 0


def test_the_gradient_is_clipped() -> None:
    """One step of plain SGD moves the weights by the learning rate times the limit."""
    trainer = plain(Watcher(), gradient_clip=0.01, accumulation=1)
    trainer.step()
    assert float(trainer.model.weight.detach().norm()) == pytest.approx(0.1 * 0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ScheduleSettings("none"), [1.0, 1.0, 1.0, 1.0]),
        (ScheduleSettings("step", every_epochs=2, factor=0.1), [1.0, 1.0, 0.1, 0.1]),
        (ScheduleSettings("step", every_epochs=1, factor=0.1, minimum=0.05), [1.0, 0.1, 0.05, 0.05]),
        (ScheduleSettings("cosine"), [1.0, 0.85355, 0.5, 0.14645]),
        (ScheduleSettings("plateau", patience=0, factor=0.5), [1.0, 1.0, 0.5, 0.5]),
    ],
)
def test_learning_rates(settings: ScheduleSettings, expected: list[float]) -> None:
    """Of four epochs whose validation losses are 2, 3, 1 and 1."""
    schedule = Schedule(settings, 1.0, 4)
    found = []
    for epoch, loss in enumerate((2.0, 3.0, 1.0, 1.0)):
        found.append(schedule.learning_rate(epoch))
        schedule.epoch_ended(loss)
    assert found == pytest.approx(expected, abs=1e-5)


def test_early_stopping_keeps_the_best_model() -> None:
    """Three epochs after the best one it ends, and the best weights are those of a run of just so many epochs."""
    trainer = make_trainer(epochs=50, patience=3)
    trainer.fit()
    best = trainer.best_epoch
    assert trainer.stopped_early
    assert len(trainer.history) == best + 3
    shorter = make_trainer(epochs=50)
    shorter.advance(best)
    present = shorter.model.state_dict()
    assert all(torch.equal(value, present[name]) for name, value in trainer.best_weights().items())
    losses = [entry["validation_loss"] for entry in trainer.history]
    assert min(losses) == losses[best - 1] == trainer.evaluate_best()["validation"].loss


def test_evaluating_the_best_model_changes_nothing() -> None:
    """In the middle of an accumulation too."""
    trainer, other = make_trainer(), make_trainer()
    for _ in range(10):
        trainer.step()
        trainer.evaluate_best()
    trainer.fit()
    other.fit()
    assert digest_of(trainer) == digest_of(other)


def test_steps_and_epochs_end_the_same() -> None:
    """What a unit is decides where it can stop, not what comes out."""
    epochs, steps = make_trainer(), make_trainer(unit="step")
    epochs.fit()
    for unit in range(1, steps.total_units + 1):
        steps.advance(unit)
        assert steps.unit == unit
    assert steps.total_units == 8 * 3
    assert epochs.model.state_dict().keys() == steps.model.state_dict().keys()
    assert epochs.history == steps.history


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_raises_and_leaves_the_trainer_torn(value: float) -> None:
    """The error says where; only a state mends the trainer, and the last whole unit is still known."""
    targets = DATA.targets.clone()
    targets[int(DATA.train[permutation(0, 0, 110)[70]])] = value
    trainer = make_trainer(SMALL, data=replace(DATA, targets=targets), unit="step", batch_size=10)
    trainer.advance(2)
    good = trainer.state_dict()
    with pytest.raises(DivergedError, match=r"the loss is -?(nan|inf) in epoch 1, micro-batch 8 of 11"):
        trainer.fit()
    assert trainer.unit == 2
    for forbidden in (trainer.state_dict, trainer.step, lambda: trainer.advance(3)):
        with pytest.raises(TornStateError):
            forbidden()
    trainer.load_state_dict(good)
    assert trainer.unit == 2


class Steep(Watcher):
    """Its outputs are finite; its gradient is not."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(super().forward(inputs).abs())


def test_a_gradient_that_is_not_finite_raises_before_the_step() -> None:
    """Clipping needs the norm, so the weights stay as they were."""
    trainer = plain(Steep(), accumulation=1, gradient_clip=1.0)
    with pytest.raises(DivergedError, match=r"the gradient's norm is (nan|inf) in epoch 1, micro-batch 1"):
        trainer.step()
    assert trainer.model.weight.tolist() == [0.0, 0.0, 0.0]
    assert trainer.unit == 0


def test_a_state_of_another_training_is_refused_whole() -> None:
    """Every tensor that does not fit is named, and nothing is changed."""
    state = make_trainer(ModelSettings(hidden_size=9, layers=2)).state_dict()
    trainer = make_trainer(SMALL)
    before = digest_of(trainer)
    with pytest.raises(StateMismatchError) as refusal:
        trainer.load_state_dict(state)
    assert "model.layers.1.weight is torch.float32 (9, 12), not torch.float32 (8, 12)" in str(refusal.value)
    assert "model.layers.9.bias is unknown" in str(refusal.value)
    fitting = trainer.state_dict()
    tensors = {name: value for name, value in fitting.tensors.items() if not name.startswith("random")}
    with pytest.raises(StateMismatchError, match=r"random\.torch is missing"):
        trainer.load_state_dict(TrainerState(fitting.values, tensors))
    assert digest_of(trainer) == before


def test_the_process_is_left_as_it_was() -> None:
    """Random numbers, threads and determinism of others are untouched, also after an error."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    make_trainer(threads=2).fit()
    with pytest.raises(DivergedError):
        plain(Steep()).fit()
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_others_drawing_random_numbers_change_nothing() -> None:
    """Dropout draws from the training's own state, whatever else the process does."""
    trainer, other = make_trainer(), make_trainer()
    while not trainer.finished:
        torch.manual_seed(len(trainer.history))
        trainer.step()
    other.fit()
    assert digest_of(trainer) == digest_of(other)


def test_a_last_micro_batch_of_one_sample_is_left_out() -> None:
    """Batch normalization has no variance of one sample; 97 samples in batches of 16 make six."""
    trainer = make_trainer(data=make_data(97), accumulation=1)
    trainer.fit()
    assert trainer.steps_per_epoch == 6


def test_parts_without_samples_or_windows_are_refused() -> None:
    """The part is named."""
    nothing = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(TrainingError, match="the validation part has no samples"):
        replace(DATA, validation=nothing)
    with pytest.raises(TrainingError, match="the train part names rows whose window is not there"):
        WindowedData(DATA.features, DATA.targets, 4, torch.arange(2, 9), DATA.validation, DATA.test)
