"""What a team's own parts may do that no state could hold: refused by name, never resumed differently."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
import torch
from milepost_trainer.engine.errors import TrainingError
from milepost_trainer.engine.parts import TrainingParts
from milepost_trainer.engine.trainer import ModelTrainer
from torch import Tensor, nn
from torch.nn import functional

from tests.trainer.trainer_doubles import DATA, QUICK, digest_of, make_trainer


class Plain(nn.Module):
    """A linear layer over the flattened window."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(DATA.window * 3, generator=generator) * 0.1)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1) @ self.weight


class WithTeacher(Plain):
    """Its frozen copy follows the weights, as a mean teacher's does."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = nn.Parameter(self.weight.detach().clone(), requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            self.teacher.lerp_(self.weight, 0.1)
        return super().forward(inputs)


class Clamping(Plain):
    """Changes its weights while it computes, as ``nn.Embedding(max_norm=...)`` does."""

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            self.weight.clamp_(-1, 1)
        return super().forward(inputs)


class Counting(torch.optim.SGD):
    """Keeps what it knows in its groups."""

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        done = super().step(closure)
        self.param_groups[0]["steps_done"] = self.param_groups[0].get("steps_done", 0) + 1
        return done


class Sharing(torch.optim.SGD):
    """Keeps what it knows under a key of its own."""

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        done = super().step(closure)
        self.state["shared"]["seen"] = torch.ones(1)
        return done


class Replacing(torch.optim.Optimizer):
    """Gives parameters other memory, and soon values that are not finite."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.1})

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        for parameter in self.param_groups[0]["params"]:
            parameter.data = torch.full_like(parameter, math.nan)
        return None


def trainer_of(parts: TrainingParts, **settings: object) -> ModelTrainer:
    return ModelTrainer(parts, replace(QUICK, **{"unit": "step", "gradient_clip": None, **settings}))


def go_on(trainer: ModelTrainer, *, units: int) -> None:
    """Do units and look at the state after each."""
    for unit in range(1, units + 1):
        trainer.advance(unit)
        trainer.state_dict()


def parts_of(model: nn.Module | None = None, **fields: object) -> TrainingParts:
    return TrainingParts(model or Plain(), DATA, loss=functional.mse_loss, **fields)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (lambda: parts_of(WithTeacher()), "the frozen parameter teacher changed; make it a buffer"),
        (lambda: parts_of(Clamping()), "the parameter weight was changed outside the optimizer's step"),
        (
            lambda: parts_of(build_optimizer=lambda parameters: Counting(parameters, lr=0.1)),
            "the optimizer changed steps_done of its groups",
        ),
        (
            lambda: parts_of(build_optimizer=lambda parameters: Sharing(parameters, lr=0.1)),
            "the optimizer keeps 'shared' for no parameter",
        ),
        (lambda: parts_of(build_optimizer=Replacing), "weight is not finite"),
    ],
)
def test_what_no_state_could_hold_is_refused_by_name(parts: Callable[[], TrainingParts], words: str) -> None:
    """At the first boundary after it happened, rather than as another result of a resume."""
    trainer = trainer_of(parts())
    trainer.state_dict()
    with pytest.raises(TrainingError, match=words):
        go_on(trainer, units=2)


def test_an_own_optimizer_that_keeps_to_the_rules_is_trained() -> None:
    """Nothing is refused of a plain one, over epochs and evaluations."""
    trainer = trainer_of(parts_of(build_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.01)))
    go_on(trainer, units=7)
    assert trainer.unit == 7


@pytest.mark.parametrize("name", ["loss", "samples"])
def test_names_of_figures_are_reserved(name: str) -> None:
    """A metric of that name would stand in for the figure and decide what is best."""
    with pytest.raises(TrainingError, match=f"a metric cannot be called {name}"):
        trainer_of(parts_of(metrics={name: functional.l1_loss}))


def test_a_metric_that_is_no_number_is_named() -> None:
    """No checkpoint could hold it."""
    trainer = trainer_of(parts_of(metrics={"area": lambda outputs, targets: torch.tensor(math.nan)}))
    with pytest.raises(TrainingError, match="the metric area is nan on validation after epoch 1"):
        trainer.fit()


def test_parts_without_samples_are_named() -> None:
    """Both of them at once, before anything is computed."""

    class Empty:
        def count(self, part: str) -> int:
            return 0

        def batch(self, part: str, samples: Tensor) -> tuple[Tensor, Tensor]:
            raise AssertionError("nothing is asked for")

    with pytest.raises(TrainingError, match="the train part has no samples; the validation part has no"):
        ModelTrainer(TrainingParts(Plain(), Empty(), loss=functional.mse_loss), QUICK)


def test_a_float16_step_that_raised_is_mended_by_loading_a_state() -> None:
    """The loss scaler forgets what the step had begun."""
    settings = {"precision": "float16", "unit": "step"}
    undisturbed = make_trainer(**settings)
    undisturbed.advance(4)
    trainer = make_trainer(**settings)
    trainer.advance(2)
    state = trainer.state_dict()

    def fail() -> None:
        raise MemoryError

    trainer.before_update = fail
    with pytest.raises(MemoryError):
        trainer.advance(3)
    trainer.before_update = None
    trainer.load_state_dict(state)
    trainer.advance(4)
    assert digest_of(trainer) == digest_of(undisturbed)
