"""The state is necessary and sufficient (A1): every component left out changes the result, all of them keep it."""

import copy
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from milepost_contracts.specs.bars_training import BarsTaskParameters
from milepost_trainer.bars.losses import loss_of
from milepost_trainer.engine import precision
from milepost_trainer.engine.errors import TrainingError
from milepost_trainer.engine.parts import TrainingParts
from milepost_trainer.engine.settings import OptimizerSettings
from milepost_trainer.engine.state import STATE_FIELDS, TrainerState
from milepost_trainer.engine.trainer import ModelTrainer
from torch import nn

from tests.trainer.initial_models import initial_model
from tests.trainer.trainer_doubles import DATA, QUICK, RICH, SMALL, digest_of, make_trainer, through_files

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parent.parent.parent / "docs" / "state.md"
CUTS_MAX = 5
BEST_EPOCH = 5
OTHER_SEED = 99
MOMENTUM = OptimizerSettings("sgd", 0.05, momentum=0.9)
RMSPROP = OptimizerSettings("rmsprop", 0.01, momentum=0.5)

Make = Callable[..., ModelTrainer]
"""A trainer from the seed of its weights, and settings."""
LeaveOut = Callable[[dict[str, Any], dict[str, Any], TrainerState], None]
"""(values, tensors, state of a fresh trainer under another seed): changes values and tensors."""


def adamw(weights_seed: int, **settings: Any) -> ModelTrainer:
    return make_trainer(weights_seed=weights_seed, **settings)


def sgd(weights_seed: int, **settings: Any) -> ModelTrainer:
    return make_trainer(weights_seed=weights_seed, optimizer=MOMENTUM, **settings)


def rmsprop(weights_seed: int, **settings: Any) -> ModelTrainer:
    return make_trainer(weights_seed=weights_seed, optimizer=RMSPROP, **settings)


def averaged(weights_seed: int, **settings: Any) -> ModelTrainer:
    return make_trainer(weights_seed=weights_seed, averaging_decay=0.9, **settings)


def scaled(weights_seed: int, **settings: Any) -> ModelTrainer:
    """Its first steps overflow, and so does one after each growth of the scale."""
    return make_trainer(SMALL, weights_seed=weights_seed, precision="float16", accumulation=1, **settings)


class Noisy(nn.Module):
    """Draws from everybody's generators, and begins with a layer that is not trained."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.inner = initial_model(RICH, features=3, window=DATA.window, seed=seed)
        self.fixed = nn.Linear(3, 3)
        self.fixed.requires_grad_(False)
        self.fixed.weight.copy_(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)))
        self.fixed.bias.zero_().add_(seed)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            inputs = inputs + random.gauss(0.0, 0.1) + float(np.random.standard_normal()) * 0.1
        return self.inner(self.fixed(inputs))


def noisy(weights_seed: int, **settings: Any) -> ModelTrainer:
    parts = TrainingParts(Noisy(weights_seed), DATA, loss_of(BarsTaskParameters()))
    return ModelTrainer(parts, replace(QUICK, **settings))


MAKERS: tuple[Make, ...] = (adamw, sgd, rmsprop, averaged, scaled, noisy)


@pytest.fixture(scope="module", autouse=True)
def restless_scale() -> Iterator[None]:
    """A loss scale that changes within a few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "SCALE_AT_FIRST", 2.0**24)
        patch.setattr(precision, "STEPS_BEFORE_GROWTH", 3)
        yield


def reset(*path: str) -> LeaveOut:
    """A value as a fresh trainer has it."""

    def leave_out(values: dict[str, Any], tensors: dict[str, Any], fresh: TrainerState) -> None:
        inner, other = values, fresh.values
        for key in path[:-1]:
            inner, other = inner[key], other[key]
        inner[path[-1]] = copy.deepcopy(other[path[-1]])

    return leave_out


def made(field: str, value: object) -> LeaveOut:
    """A value that a fresh trainer cannot have beside the tensors that are there."""

    def leave_out(values: dict[str, Any], tensors: dict[str, Any], fresh: TrainerState) -> None:
        values[field] = value

    return leave_out


def replaced(pattern: str) -> LeaveOut:
    """Tensors as a fresh model under another seed has them."""

    def leave_out(values: dict[str, Any], tensors: dict[str, Any], fresh: TrainerState) -> None:
        for key in matching(tensors, pattern):
            tensors[key] = fresh.tensors[key]

    return leave_out


def zeroed(pattern: str) -> LeaveOut:
    """Tensors as they begin: zero."""

    def leave_out(values: dict[str, Any], tensors: dict[str, Any], fresh: TrainerState) -> None:
        for key in matching(tensors, pattern):
            tensors[key] = tensors[key] * 0

    return leave_out


def removed(pattern: str) -> LeaveOut:
    def leave_out(values: dict[str, Any], tensors: dict[str, Any], fresh: TrainerState) -> None:
        for key in matching(tensors, pattern):
            del tensors[key]

    return leave_out


def as_weights(prefix: str) -> LeaveOut:
    """Tensors that are only references to the present weights."""

    def leave_out(values: dict[str, Any], tensors: dict[str, Any], fresh: TrainerState) -> None:
        for key in matching(tensors, re.escape(prefix) + ".*"):
            tensors[key] = tensors["model." + key.removeprefix(prefix)].clone()

    return leave_out


def matching(tensors: dict[str, Any], pattern: str) -> list[str]:
    return [key for key in tensors if re.fullmatch(pattern, key)]


def has(pattern: str) -> Callable[[TrainerState], bool]:
    return lambda state: bool(matching(dict(state.tensors), pattern))


def best_is_over(state: TrainerState) -> bool:
    """No later epoch is better than the fifth, and the present weights are others."""
    values = state.values
    return values["best_epoch"] == BEST_EPOCH and values["epoch"] * 7 + values["position"] > BEST_EPOCH * 7


def after_an_epoch(state: TrainerState) -> bool:
    return state.values["epoch"] > 0


def average_has_a_past(state: TrainerState) -> bool:
    """After the first step it is the weights themselves."""
    return state.values["averaged_steps"] > 1


def scale_is_on_its_way(state: TrainerState) -> bool:
    """There are steps enough left to make it grow."""
    return state.values["scaler"]["steps_since_change"] > 0 and state.values["epoch"] < 6


@dataclass(frozen=True)
class Case:
    """Which component to leave out, how, and at which cuts that must show."""

    leave_out: LeaveOut
    shows: Callable[[TrainerState], bool] = lambda state: True
    make: Make = adamw


BUFFERS = r"model\..*(running_mean|running_var|num_batches_tracked)"

VALUES: dict[str, Case] = {
    "epoch": Case(reset("epoch"), after_an_epoch),
    "position": Case(reset("position"), lambda state: state.values["position"] > 0),
    "running_loss": Case(reset("running_loss"), lambda state: state.values["position"] > 0),
    "history": Case(reset("history"), after_an_epoch),
    "best_loss": Case(made("best_loss", 1e9), best_is_over),
    "best_epoch": Case(reset("best_epoch"), best_is_over),
    "scheduler.best": Case(reset("scheduler", "best"), lambda state: state.values["epoch"] == BEST_EPOCH),
    "scheduler.wait": Case(reset("scheduler", "wait"), lambda state: state.values["scheduler"]["wait"] > 0),
    "scheduler.cuts": Case(reset("scheduler", "cuts"), lambda state: state.values["scheduler"]["cuts"] > 0),
    "averaged_steps": Case(made("averaged_steps", 1), average_has_a_past, averaged),
    "scaler.scale": Case(reset("scaler", "scale"), after_an_epoch, scaled),
    "scaler.steps_since_change": Case(reset("scaler", "steps_since_change"), scale_is_on_its_way, scaled),
    "scaler.skipped_steps": Case(
        reset("scaler", "skipped_steps"), lambda state: state.values["scaler"]["skipped_steps"] > 0, scaled
    ),
}

TENSORS: dict[str, Case] = {
    "model.<parameter>": Case(replaced(r"model\..*(weight|bias)")),
    "model.<buffer>": Case(replaced(BUFFERS)),
    "optimizer.<parameter>.exp_avg": Case(zeroed(r"optimizer\..*\.exp_avg"), has(r"optimizer\..*\.exp_avg")),
    "optimizer.<parameter>.exp_avg_sq": Case(
        zeroed(r"optimizer\..*\.exp_avg_sq"), has(r"optimizer\..*\.exp_avg_sq")
    ),
    "optimizer.<parameter>.step": Case(zeroed(r"optimizer\..*\.step"), has(r"optimizer\..*\.step")),
    "optimizer.<parameter>.momentum_buffer": Case(
        zeroed(r"optimizer\..*\.momentum_buffer"), has(r"optimizer\..*\.momentum_buffer"), sgd
    ),
    "optimizer.<parameter>.square_avg": Case(
        zeroed(r"optimizer\..*\.square_avg"), has(r"optimizer\..*\.square_avg"), rmsprop
    ),
    "gradient.<parameter>": Case(removed(r"gradient\..*"), has(r"gradient\..*")),
    "average.<parameter>": Case(as_weights("average."), average_has_a_past, averaged),
    "best.<parameter or buffer>": Case(as_weights("best."), best_is_over),
    "frozen.<parameter>": Case(replaced(r"frozen\..*"), make=noisy),
    "random.torch": Case(replaced(r"random\.torch")),
    "random.python": Case(replaced(r"random\.python"), make=noisy),
    "random.numpy": Case(replaced(r"random\.numpy"), make=noisy),
}


def cuts(make: Make) -> tuple[str, list[TrainerState]]:
    """Digest of the undisturbed run, and the state after each micro-batch but the last."""
    trainer = make(0)
    found: list[TrainerState] = []
    while not trainer.finished:
        trainer.step()
        found.append(trainer.state_dict())
    return digest_of(trainer), found[:-1]


@pytest.fixture(scope="module")
def runs() -> dict[Make, tuple[str, list[TrainerState]]]:
    return {make: cuts(make) for make in MAKERS}


def finished(make: Make, state: TrainerState) -> str:
    """Digest after going on from a state with fresh objects under another seed of weights."""
    trainer = make(OTHER_SEED)
    try:
        trainer.load_state_dict(through_files(state))
        trainer.fit()
    except TrainingError as error:
        return f"refused: {error}"
    return digest_of(trainer)


def spread(items: list[Any]) -> list[Any]:
    """At most ``CUTS_MAX`` of them, from all over."""
    return items[:: max(1, len(items) // CUTS_MAX)][:CUTS_MAX]


def first_column(after: str) -> list[str]:
    """Names in the first column of the training's table that begins with ``after``."""
    table = PAGE.read_text().split("## Training", 1)[1].split(after, 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


DECLARED = first_column("| value |") + first_column("| tensor |")


@pytest.mark.parametrize("component", DECLARED)
def test_a_component_left_out_changes_the_result(component: str, runs: Any) -> None:
    """Cut mid-accumulation too: without one component the run ends otherwise, with all of them the same."""
    case = (VALUES | TENSORS)[component]
    expected, found = runs[case.make]
    targeted = spread([state for state in found if case.shows(state)])
    fresh = case.make(OTHER_SEED, seed=OTHER_SEED).state_dict()
    assert len(targeted) == CUTS_MAX, "the training does not exercise the component"
    for state in targeted:
        assert finished(case.make, state) == expected
        values, tensors = copy.deepcopy(dict(state.values)), dict(state.tensors)
        case.leave_out(values, tensors, fresh)
        assert finished(case.make, TrainerState(values, tensors)) != expected


def components(state: TrainerState) -> set[str]:
    """The components of a state, as the page writes them."""
    names = state.values.keys() - {"scheduler", "scaler"}
    names |= {f"{outer}.{key}" for outer in ("scheduler", "scaler") for key in state.values[outer]}
    for key in state.tensors:
        kind, slot = key.partition(".")[0], key.rpartition(".")[2]
        match kind:
            case "model":
                names.add("model.<buffer>" if re.fullmatch(BUFFERS, key) else "model.<parameter>")
            case "optimizer":
                names.add(f"optimizer.<parameter>.{slot}")
            case "gradient" | "average" | "frozen":
                names.add(f"{kind}.<parameter>")
            case "best":
                names.add("best.<parameter or buffer>")
            case _:
                names.add(key)
    return names


def test_the_page_the_cases_and_the_states_name_the_same_components(runs: Any) -> None:
    """docs/state.md, this test and the states themselves agree on every component."""
    actual: set[str] = set()
    for _, found in runs.values():
        for state in found:
            actual |= components(state)
    assert set(DECLARED) == set(VALUES | TENSORS) == actual
    assert len(DECLARED) == len(set(DECLARED))
    assert {name.partition(".")[0] for name in VALUES} == STATE_FIELDS


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_best_model_that_is_the_present_one_is_left_out(make: Make, runs: Any) -> None:
    """At the end of an epoch that is the best one its weights follow from the others, and come back whole."""
    expected, found = runs[make]
    at_best = [
        state
        for state in found
        if state.values["position"] == 0 and state.values["epoch"] == state.values["best_epoch"]
    ]
    assert at_best
    for state in at_best[-2:]:
        assert not state.part("best.")
        assert finished(make, state) == expected


def test_a_state_is_a_real_copy() -> None:
    """What happens to the trainer afterwards does not change a state, and loading does not tie them together."""
    trainer = adamw(0)
    for _ in range(8):
        trainer.step()
    state = trainer.state_dict()
    kept = through_files(state)
    trainer.fit()
    again = adamw(OTHER_SEED)
    again.load_state_dict(state)
    again.fit()
    assert state.values == kept.values
    assert all(bool((state.tensors[key] == value).all()) for key, value in kept.tensors.items())
    assert digest_of(again) == digest_of(trainer)
    storages = [value.untyped_storage().data_ptr() for value in state.tensors.values()]
    assert len(set(storages)) == len(storages)
