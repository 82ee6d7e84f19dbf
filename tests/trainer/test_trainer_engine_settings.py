"""What settings do to a training: one-cycle, averaging, number formats, compilation, devices, augmentation."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from milepost_trainer.engine import precision
from milepost_trainer.engine.averaging import WeightAverage
from milepost_trainer.engine.devices import resolve_device
from milepost_trainer.engine.errors import DivergedError, TrainingError
from milepost_trainer.engine.keyed_random import normal, sample_keys, uniform
from milepost_trainer.engine.parts import TrainingParts
from milepost_trainer.engine.schedules import Schedule
from milepost_trainer.engine.settings import ScheduleSettings
from milepost_trainer.engine.trainer import ModelTrainer
from torch import Tensor, nn
from torch.nn import functional

from tests.trainer.trainer_doubles import DATA, QUICK, SMALL, digest_of, make_trainer, through_files

pytestmark = pytest.mark.unit

ONE_CYCLE = ScheduleSettings("one-cycle", warmup_share=0.25, start_factor=10.0, end_factor=100.0)


@pytest.mark.parametrize(("epochs", "steps"), [(2, 4), (4, 3), (7, 11), (20, 1)])
@pytest.mark.parametrize("warmup_share", [0.25, 0.3, 0.5, 1.0])
def test_one_cycle_is_that_of_torch(epochs: int, steps: int, warmup_share: float) -> None:
    """Step for step, up and down."""
    settings = replace(ONE_CYCLE, warmup_share=warmup_share)
    schedule = Schedule(settings, 0.4, epochs, steps)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        0.4,
        total_steps=epochs * steps,
        pct_start=warmup_share,
        div_factor=10.0,
        final_div_factor=100.0,
    )
    expected, found = [], []
    for epoch in range(epochs):
        for step in range(steps):
            expected.append(theirs.get_last_lr()[0])
            found.append(schedule.learning_rate(epoch, step))
            if len(found) < epochs * steps:
                optimizer.step()
                theirs.step()
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("epochs", "steps", "share"), [(1, 1, 0.3), (1, 2, 0.5), (1, 3, 0.0), (1, 1, 1.0)])
def test_one_cycle_of_a_few_steps_has_finite_rates(epochs: int, steps: int, share: float) -> None:
    """Where a phase has no steps at all."""
    schedule = Schedule(replace(ONE_CYCLE, warmup_share=share), 0.4, epochs, steps)
    rates = [schedule.learning_rate(0, step) for step in range(steps)]
    assert rates[0] == 0.4
    assert all(0 < rate <= 0.4 for rate in rates)


def test_one_cycle_resumes_in_the_middle_of_an_epoch() -> None:
    """The rate follows from the step, so a run cut anywhere ends as the whole one."""
    whole = make_trainer(schedule=ONE_CYCLE)
    whole.fit()
    first = make_trainer(schedule=ONE_CYCLE)
    for _ in range(17):
        first.step()
    assert first.state_dict().values["scheduler"] == {}
    second = make_trainer(schedule=ONE_CYCLE, weights_seed=5)
    second.load_state_dict(through_files(first.state_dict()))
    second.fit()
    assert digest_of(second) == digest_of(whole)
    rates = [entry["learning_rate"] for entry in whole.history]
    assert max(rates) == 0.05
    assert rates[-1] == pytest.approx(0.05 / 10 / 100)


def test_the_average_follows_the_weights_faster_in_the_beginning() -> None:
    """The first step is taken as it is; the decay is (1 + n) / (10 + n) until it reaches the one asked for."""
    weight = nn.Parameter(torch.zeros(1))
    average = WeightAverage(0.25, {"weight": weight})
    found = []
    for value in (8.0, 0.0, 0.0, 0.0, 0.0):
        weight.data.fill_(value)
        average.update()
        found.append(average.tensors["weight"].item())
    expected = [8.0]
    for decay in (2 / 11, 3 / 12, 0.25, 0.25):
        expected.append(expected[-1] * decay)
    assert found == pytest.approx(expected)


def test_the_average_is_validated_kept_as_best_and_leaves_the_training_alone() -> None:
    """The weights go the same way with and without it, the figures are those of the average."""
    plain = make_trainer(SMALL, schedule=ScheduleSettings())
    averaged = make_trainer(SMALL, schedule=ScheduleSettings(), averaging_decay=0.99)
    plain.fit()
    averaged.fit()
    assert all(
        torch.equal(value, averaged.present_weights()[name])
        for name, value in plain.present_weights().items()
    )
    assert [e["train_loss"] for e in plain.history] == [e["train_loss"] for e in averaged.history]
    losses = [entry["validation_loss"] for entry in averaged.history]
    assert losses != [entry["validation_loss"] for entry in plain.history]
    assert averaged.evaluate_best()["validation"].loss == min(losses)
    model = make_trainer(SMALL).model
    model.load_state_dict(averaged.best_weights())
    inputs, targets = DATA.batch("validation", torch.arange(DATA.count("validation")))
    with torch.no_grad():
        loss = functional.binary_cross_entropy_with_logits(model.eval()(inputs), targets)
    assert float(loss) == pytest.approx(min(losses), rel=1e-6)


class Formats(nn.Module):
    """A linear model that notes the number format of its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.seen: set[torch.dtype] = set()

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.linear(inputs[:, -1])
        self.seen.add(outputs.dtype)
        return outputs.squeeze(1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)],
)
def test_passes_compute_in_the_chosen_format_and_weights_stay_float32(
    name: str, expected: torch.dtype
) -> None:
    """In training and in evaluation, also of a resumed run, which ends as the whole one."""

    def make() -> ModelTrainer:
        torch.manual_seed(1)
        return ModelTrainer(
            TrainingParts(Formats(), DATA, functional.binary_cross_entropy_with_logits),
            replace(QUICK, precision=name, epochs=3),
        )

    whole, first, second = make(), make(), make()
    whole.fit()
    assert whole.model.seen == {expected}
    assert all(value.dtype == torch.float32 for value in whole.model.parameters())
    for _ in range(10):
        first.step()
    second.load_state_dict(through_files(first.state_dict()))
    second.fit()
    assert digest_of(second) == digest_of(whole)


def scaled(model: nn.Module, **settings: Any) -> ModelTrainer:
    return ModelTrainer(
        TrainingParts(model, DATA, functional.binary_cross_entropy_with_logits),
        replace(QUICK, precision="float16", accumulation=1, averaging_decay=0.9, **settings),
    )


def test_a_step_that_overflows_is_left_out_counted_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a unit like the others; weights and average stay as they were, and the scale is halved."""
    monkeypatch.setattr(precision, "SCALE_AT_FIRST", 2.0**21)
    trainer = scaled(Formats(), unit="step")
    before = trainer.present_weights()
    trainer.advance(1)
    assert trainer.unit == 1
    assert trainer.metrics() == {
        "train_loss": pytest.approx(0.8, abs=0.4),
        "loss_scale": 2.0**20,
        "skipped_steps": 1,
    }
    assert all(torch.equal(value, before[name]) for name, value in trainer.present_weights().items())
    assert trainer.state_dict().values["averaged_steps"] == 0
    trainer.fit()
    last = trainer.history[-1]
    assert 0 < last["skipped_steps"] < 10
    assert last["loss_scale"] == 2.0 ** (21 - last["skipped_steps"])
    assert trainer.state_dict().values["averaged_steps"] == trainer.unit - last["skipped_steps"]


class Broken(Formats):
    """Its loss is finite, its gradient never is."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        return outputs + torch.sqrt((outputs * 0).abs())


def test_gradients_that_are_never_finite_diverge_when_the_scale_is_used_up() -> None:
    """Halving from 65536 ends below 1; every step before that was left out."""
    trainer = scaled(Broken())
    with pytest.raises(DivergedError, match=r"the loss scale is 0.5 in epoch 3, micro-batch 3 of 7"):
        trainer.fit()


@pytest.mark.parametrize("unit", ["step", "epoch"])
def test_a_unit_whose_weights_are_not_finite_is_none(unit: str) -> None:
    """Without clipping nobody looks at the gradient: the weights are looked at when a unit ends."""
    trainer = ModelTrainer(
        TrainingParts(Broken(), DATA, functional.mse_loss),
        replace(QUICK, gradient_clip=None, accumulation=7, unit=unit),
    )
    with pytest.raises(DivergedError, match=r"linear.weight is not finite"):
        trainer.fit()
    assert trainer.unit == 0


def test_a_compiled_model_has_the_names_and_the_state_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the way through it in training is compiled, and for each shape by itself.

    Code for several shapes at once made a resumed run differ: it had seen other shapes before.
    """
    compile_with = partial(torch.compile, backend="eager")
    asked: list[dict[str, Any]] = []

    def compiling(model: nn.Module, **options: Any) -> Any:
        asked.append(options)
        return compile_with(model, **options)

    monkeypatch.setattr(torch, "compile", compiling)
    plain, compiled = make_trainer(SMALL, epochs=2), make_trainer(SMALL, epochs=2, compile=True)
    plain.fit()
    compiled.fit()
    assert asked == [{"dynamic": False}]
    assert compiled.state_dict().tensors.keys() == plain.state_dict().tensors.keys()
    assert digest_of(compiled) == digest_of(plain)


def test_the_device_is_what_was_asked_for_or_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing one is refused by name."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    with pytest.raises(ValueError, match="no device cuda"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cuda"


@pytest.mark.parametrize("draw", [uniform, normal])
def test_keyed_draws_follow_from_their_key_alone(draw: Any) -> None:
    """Whatever the order, the batch, or the number of draws asked for before them; others for other keys."""
    keys = sample_keys(3, 5, torch.arange(101))
    whole = draw(keys, 7, 2)
    order = torch.randperm(101, generator=torch.Generator().manual_seed(1))
    assert torch.equal(draw(keys[order], 7, 2), whole[order])
    assert torch.equal(torch.cat([draw(part, 7, 2) for part in keys.split(13)]), whole)
    assert torch.equal(sample_keys(3, 5, order), keys[order])
    for other in (draw(keys, 7, 3), draw(sample_keys(3, 6, torch.arange(101)), 7, 2)):
        assert (other == whole).float().mean() < 0.01
    assert len(set(keys.tolist()) | set(sample_keys(4, 5, torch.arange(101)).tolist())) == 202


def test_keyed_draws_are_spread_as_they_should_be() -> None:
    """Means and deviations of 200 000 draws, within five standard errors; neighbours are not correlated."""
    keys = sample_keys(0, 0, torch.arange(1000))
    even, bell = uniform(keys, 200).double(), normal(keys, 200).double()
    error = 5 / math.sqrt(200_000)
    assert abs(even.mean() - 0.5) < error * math.sqrt(1 / 12)
    assert abs(even.var() - 1 / 12) < error * math.sqrt(1 / 180)
    assert 0 <= even.min() < even.max() < 1
    assert abs(bell.mean()) < error
    assert abs(bell.var() - 1) < error * math.sqrt(2)
    for draws in (even, bell):
        assert abs(torch.corrcoef(torch.stack([draws[:-1].flatten(), draws[1:].flatten()]))[0, 1]) < error
        assert (
            abs(torch.corrcoef(torch.stack([draws[:, :-1].flatten(), draws[:, 1:].flatten()]))[0, 1]) < error
        )


def test_augmentation_depends_on_seed_epoch_and_sample_only() -> None:
    """A resumed run augments as the whole one; another seed does not; validation is left alone."""
    batches: list[int] = []

    def make(**settings: Any) -> ModelTrainer:
        def jittered(inputs: Tensor, keys: Tensor) -> Tensor:
            batches.append(len(inputs))
            return inputs + normal(keys, 12).reshape(inputs.shape) * 0.1

        torch.manual_seed(1)
        parts = TrainingParts(Formats(), DATA, functional.binary_cross_entropy_with_logits, augment=jittered)
        return ModelTrainer(parts, replace(QUICK, epochs=2, **settings))

    whole, first, second = make(), make(), make()
    whole.fit()
    assert sum(batches) == 2 * 110
    for _ in range(10):
        first.step()
    second.load_state_dict(through_files(first.state_dict()))
    second.fit()
    assert digest_of(second) == digest_of(whole)
    other = make(seed=1)
    other.fit()
    assert digest_of(other) != digest_of(whole)


def test_an_optimizer_of_the_task_is_used_and_saved() -> None:
    """Its groups keep the ratio of their learning rates, and what it remembers is resumed."""

    def make() -> ModelTrainer:
        torch.manual_seed(1)

        def build(parameters: Any) -> torch.optim.Optimizer:
            weight, bias = parameters
            return torch.optim.Adamax([{"params": [weight]}, {"params": [bias], "lr": 0.1}], lr=0.05)

        parts = TrainingParts(
            Formats(), DATA, functional.binary_cross_entropy_with_logits, build_optimizer=build
        )
        return ModelTrainer(parts, replace(QUICK, epochs=3, schedule=ScheduleSettings("step", 1, 0.5)))

    whole, first, second = make(), make(), make()
    whole.fit()
    for _ in range(10):
        first.step()
    state = first.state_dict()
    assert "optimizer.linear.weight.exp_inf" in state.tensors
    second.load_state_dict(through_files(state))
    second.fit()
    assert digest_of(second) == digest_of(whole)
    # Those of the epoch that would come next: halved three times.
    assert [group["lr"] for group in second._learner.optimizer.param_groups] == [0.00625, 0.0125]


def test_what_an_optimizer_keeps_outside_of_tensors_is_refused() -> None:
    """It could not be resumed exactly."""
    parts = TrainingParts(
        Formats(), DATA, functional.binary_cross_entropy_with_logits, build_optimizer=torch.optim.LBFGS
    )
    trainer = ModelTrainer(parts, QUICK)
    trainer._learner.optimizer.state[trainer._learner.trainable["linear.bias"]]["func_evals"] = 1
    with pytest.raises(TrainingError, match=r"the optimizer's func_evals of linear.bias is no tensor"):
        trainer.state_dict()
