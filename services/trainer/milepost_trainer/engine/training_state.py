"""Gathers the state of a training from the parts that hold it, and puts one back into them."""

from collections.abc import Mapping
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

    def changing(self) -> TrainerState:
        """Return the values and all tensors but the resting ones; nothing changes them any more.

        Buffers, gradients and random states are copied; frozen parameters and best weights never change in place.
        """
        learner, values = self._learner, self._values()
        learner.boundary()
        tensors = {
            **copied(MODEL, learner.buffers),
            **copied(GRADIENT, learner.gradients),
            **referred(FROZEN, learner.frozen),
            **referred(BEST, {} if best_is_present(values) else self._progress.best),
            **referred(RANDOM, self._surroundings.random_tensors()),
        }
        return TrainerState(values, tensors)

    def resting(self) -> dict[str, Tensor]:
        """Return the live tensors that only an optimizer step changes."""
        learner = self._learner
        return {
            **referred(MODEL, learner.trainable),
            **referred(OPTIMIZER, learner.optimizer_tensors),
            **referred(AVERAGE, learner.average.tensors if learner.average else {}),
        }

    @property
    def resting_count(self) -> int:
        """How many ``resting`` ones there are."""
        learner = self._learner
        kept = learner.optimizer.state.values()
        slots = sum(isinstance(value, Tensor) for found in kept for value in found.values())
        return len(learner.trainable) + slots + (len(learner.average.tensors) if learner.average else 0)

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
