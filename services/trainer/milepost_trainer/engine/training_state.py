"""Gathers the state of a training from the parts that hold it, and puts one back into them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from milepost_trainer.engine.errors import StateMismatchError
from milepost_trainer.engine.learner import Learner
from milepost_trainer.engine.progress import Progress, best_is_present
from milepost_trainer.engine.restoring import adopt, prepared, state_problems
from milepost_trainer.engine.schedules import Schedule
from milepost_trainer.engine.state import (
    AVERAGE,
    BEST,
    FROZEN,
    GRADIENT,
    MODEL,
    OPTIMIZER,
    RANDOM,
    Boundary,
    TensorSource,
    TrainerState,
    check_values,
    copied,
    referred,
)
from milepost_trainer.engine.surroundings import Surroundings


class TrainingState:
    """Holds nothing itself; ``ModelTrainer`` says when its state is whole."""

    def __init__(
        self, learner: Learner, progress: Progress, schedule: Schedule, surroundings: Surroundings
    ) -> None:
        self._learner = learner
        self._progress = progress
        self._schedule = schedule
        self._surroundings = surroundings

    def boundary(self) -> Boundary:
        """Return the values, live buffers and what nothing changes any more; the resting tensors belong to it.

        Frozen parameters and best weights never change in place; gradients are copied.
        """
        learner, values = self._learner, self._values()
        learner.boundary()
        settled: dict[str, Tensor] = {}
        if gradients := learner.gradients:
            settled |= copied(GRADIENT, gradients)
        if learner.frozen:
            settled |= referred(FROZEN, learner.frozen)
        if self._progress.best and not best_is_present(values):
            settled |= referred(BEST, self._progress.best)
        return Boundary(
            values, learner.buffers, settled, partial(_random_of, self._surroundings.random_states())
        )

    def whole(self) -> TrainerState:
        """Return the state: the resting tensors live, all else copied or settled."""
        found = self.boundary()
        tensors = {**copied(MODEL, found.buffers), **found.settled, **found.random(), **self.resting()}
        return TrainerState(found.values, tensors)

    def resting(self) -> dict[str, Tensor]:
        """Return the live tensors that only an optimizer step changes.

        Raises:
            TrainingError: the boundary's buffers may not have been all.
        """
        learner = self._learner
        learner.check_buffers()
        return {
            **referred(MODEL, learner.trainable),
            **referred(OPTIMIZER, learner.optimizer_tensors),
            **referred(AVERAGE, learner.average.tensors if learner.average else {}),
        }

    @property
    def resting_count(self) -> int:
        """How many ``resting`` ones there are."""
        learner = self._learner
        averaged = len(learner.average.tensors) if learner.average else 0
        return len(learner.trainable) + learner.optimizer_tensor_count + averaged

    def check(self, values: Mapping[str, Any], source: TensorSource) -> None:
        """Refuse the state of another training.

        Raises:
            StateMismatchError: every difference is named.
        """
        check_values(values)
        self._schedule.check_state(values["scheduler"])
        if wrong := sorted(values["scaler"].keys() ^ self._learner.scaler_state().keys()):
            raise StateMismatchError("of the scaler missing or unknown: " + ", ".join(wrong))
        problems = state_problems(
            self._learner,
            self._surroundings.random_tensors(),
            values,
            source.layout(),
            best_is_present=best_is_present(values),
        )
        if problems:
            raise StateMismatchError("; ".join(problems))

    def put_back(self, values: Mapping[str, Any], source: TensorSource) -> None:
        """Read a checked state straight into place; what the source raises leaves it torn."""
        destination, restored = prepared(self._learner, source.layout())
        source.read_into(destination.tensors)
        destination.finish()
        adopt(self._learner, restored, values)
        self._learner.restored()
        self._surroundings.load_random_tensors(restored.random)
        best = self._learner.evaluated_copy() if best_is_present(values) else restored.best
        self._progress.load_state_dict(values, best)
        self._schedule.load_state_dict(values["scheduler"])

    def _values(self) -> dict[str, Any]:
        average = self._learner.average
        return {
            **self._progress.state_dict(),
            "scheduler": self._schedule.state_dict(),
            "averaged_steps": average.steps if average else 0,
            "scaler": self._learner.scaler_state(),
        }


def _random_of(states: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    return referred(RANDOM, states())
