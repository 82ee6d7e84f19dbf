"""The state is necessary and sufficient (A1): every component left out changes the result, all of them keep it."""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from milepost_trainer.engine.errors import TrainingError
from milepost_trainer.engine.optimizers import Schedule
from milepost_trainer.engine.settings import OptimizerSettings
from milepost_trainer.engine.state import RANDOM, STATE_FIELDS, TrainerState
from milepost_trainer.engine.surroundings import Surroundings
from milepost_trainer.engine.trainer import ModelTrainer

from tests.trainer.trainer_doubles import digest_of, make_trainer, through_files

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parent.parent.parent / "docs" / "state.md"
CUTS_MAX = 6
BEST_EPOCH = 5
OTHER_SEED = 99
MOMENTUM = OptimizerSettings("sgd", 0.05, momentum=0.9)
RMSPROP = OptimizerSettings("rmsprop", 0.01, momentum=0.5)

Make = Callable[[int], ModelTrainer]


def adamw(weights_seed: int) -> ModelTrainer:
    return make_trainer(weights_seed=weights_seed)


def sgd(weights_seed: int) -> ModelTrainer:
    return make_trainer(weights_seed=weights_seed, optimizer=MOMENTUM)


def rmsprop(weights_seed: int) -> ModelTrainer:
    return make_trainer(weights_seed=weights_seed, optimizer=RMSPROP)


def fresh() -> TrainerState:
    """What a new trainer under another seed has."""
    return make_trainer(weights_seed=OTHER_SEED, seed=OTHER_SEED).state_dict()


def reset(*path: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """A value as a fresh trainer has it."""

    def leave_out(values: dict[str, Any], tensors: dict[str, Any]) -> None:
        inner, other = values, fresh().values
        for key in path[:-1]:
            inner, other = inner[key], other[key]
        inner[path[-1]] = copy.deepcopy(other[path[-1]])

    return leave_out


def replaced(pattern: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """Tensors as a fresh model under another seed has them."""

    def leave_out(values: dict[str, Any], tensors: dict[str, Any]) -> None:
        other = fresh().tensors
        for key in matching(tensors, pattern):
            tensors[key] = other[key]

    return leave_out


def zeroed(pattern: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """Tensors as they begin: zero."""

    def leave_out(values: dict[str, Any], tensors: dict[str, Any]) -> None:
        for key in matching(tensors, pattern):
            tensors[key] = tensors[key] * 0

    return leave_out


def removed(pattern: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def leave_out(values: dict[str, Any], tensors: dict[str, Any]) -> None:
        for key in matching(tensors, pattern):
            del tensors[key]

    return leave_out


def best_is_last(values: dict[str, Any], tensors: dict[str, Any]) -> None:
    """As with a best model that is only a reference to the present one."""
    for key in matching(tensors, r"best\..*"):
        tensors[key] = tensors["model." + key.removeprefix("best.")].clone()


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


@dataclass(frozen=True)
class Case:
    """Which component to leave out, how, and at which cuts that must show."""

    leave_out: Callable[[dict[str, Any], dict[str, Any]], None]
    shows: Callable[[TrainerState], bool] = lambda state: True
    make: Make = adamw


BUFFERS = r"model\..*(running_mean|running_var|num_batches_tracked)"

VALUES: dict[str, Case] = {
    "epoch": Case(reset("epoch"), after_an_epoch),
    "position": Case(reset("position"), lambda state: state.values["position"] > 0),
    "running_loss": Case(reset("running_loss"), lambda state: state.values["position"] > 0),
    "history": Case(reset("history"), after_an_epoch),
    "best_loss": Case(reset("best_loss"), best_is_over),
    "best_epoch": Case(reset("best_epoch"), best_is_over),
    "scheduler.best": Case(reset("scheduler", "best"), lambda state: state.values["epoch"] == BEST_EPOCH),
    "scheduler.wait": Case(reset("scheduler", "wait"), lambda state: state.values["scheduler"]["wait"] > 0),
    "scheduler.cuts": Case(reset("scheduler", "cuts"), lambda state: state.values["scheduler"]["cuts"] > 0),
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
    "best.<parameter or buffer>": Case(best_is_last, best_is_over),
    "random.torch": Case(replaced(r"random\.torch")),
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
    return {make: cuts(make) for make in (adamw, sgd, rmsprop)}


def finished(make: Make, state: TrainerState) -> str:
    """Digest after going on from a state with fresh objects; one that cannot be gone on from is a difference."""
    trainer = make(OTHER_SEED)
    try:
        trainer.load_state_dict(through_files(state))
        trainer.fit()
    except (TrainingError, KeyError) as error:
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
    assert len(targeted) >= 5, "the training does not exercise the component"
    for state in targeted:
        assert finished(case.make, state) == expected
        values, tensors = copy.deepcopy(dict(state.values)), dict(state.tensors)
        case.leave_out(values, tensors)
        assert finished(case.make, TrainerState(values, tensors)) != expected


def components(state: TrainerState) -> set[str]:
    """The components of a state, as the page writes them."""
    names = {key for key in state.values if key != "scheduler"}
    names |= {f"scheduler.{key}" for key in state.values["scheduler"]}
    for key in state.tensors:
        kind, slot = key.partition(".")[0], key.rpartition(".")[2]
        match kind:
            case "model":
                names.add("model.<buffer>" if re.fullmatch(BUFFERS, key) else "model.<parameter>")
            case "optimizer":
                names.add(f"optimizer.<parameter>.{slot}")
            case "gradient":
                names.add("gradient.<parameter>")
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
    assert RANDOM in TENSORS


ATTRIBUTES: dict[type, dict[str, str]] = {
    ModelTrainer: {
        "_model": "state: model.*",
        "_data": "input",
        "_settings": "fingerprint",
        "_optimizer": "state: optimizer.*, gradient.*; its learning rate follows from the schedule",
        "_schedule": "state: scheduler",
        "_surroundings": "state: random.torch",
        "_micro_batches": "follows from data and settings",
        "steps_per_epoch": "follows from data and settings",
        "_epoch": "state: epoch",
        "_position": "state: position",
        "_running_loss": "state: running_loss",
        "_history": "state: history",
        "_best": "state: best.*",
        "_best_loss": "state: best_loss",
        "_best_epoch": "state: best_epoch",
        "_torn": "a torn trainer gives no state",
        "_order": "follows from seed and epoch",
        "_learning_rate": "follows from the schedule and epoch",
    },
    Schedule: {
        "_settings": "fingerprint",
        "_initial": "fingerprint",
        "_epochs": "fingerprint",
        "_best": "state: scheduler.best",
        "_wait": "state: scheduler.wait",
        "_cuts": "state: scheduler.cuts",
    },
    Surroundings: {
        "_random": "state: random.torch",
        "_threads": "fingerprint",
        "_deterministic": "always on in a job",
    },
}


def test_no_attribute_is_undeclared() -> None:
    """Whoever adds an attribute to the trainer or its parts must say here what becomes of it."""
    trainer = adamw(0)
    trainer.fit()
    for thing in (trainer, trainer._schedule, trainer._surroundings):
        assert set(vars(thing)) == set(ATTRIBUTES[type(thing)])


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
