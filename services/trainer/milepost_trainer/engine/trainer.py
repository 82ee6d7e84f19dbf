"""The engine: trains a model and can be stopped after any micro-batch and go on exactly.

States: between two micro-batches everything is whole, and ``state_dict`` gives a copy of it; an exception
inside one leaves the trainer torn, and only ``load_state_dict`` or ``restore`` mends it. Authority: what is
in ``STATE_FIELDS`` and in the tensors; the order of samples, the learning rate and the accumulated
micro-batches follow from them and from the settings. The gradients of an unfinished accumulation are part of
the state; at the end of an epoch what is left makes a step of its own.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn

from milepost_trainer.engine.errors import DivergedError, StateMismatchError, TornStateError
from milepost_trainer.engine.evaluation import Evaluation, evaluate
from milepost_trainer.engine.keyed_random import sample_keys
from milepost_trainer.engine.learner import BeforeUpdate, Learner
from milepost_trainer.engine.order import EpochPlan, permutation
from milepost_trainer.engine.parts import Part, TrainingParts
from milepost_trainer.engine.restoring import adopt, prepared, state_problems
from milepost_trainer.engine.schedules import Schedule
from milepost_trainer.engine.settings import TrainingSettings
from milepost_trainer.engine.state import (
    AVERAGE,
    BEST,
    FROZEN,
    GRADIENT,
    MODEL,
    OPTIMIZER,
    RANDOM,
    TensorsInMemory,
    TensorSource,
    TrainerState,
    check_values,
    copied,
    referred,
)
from milepost_trainer.engine.surroundings import Surroundings

ENGINE_VERSION = "1"
"""Changes with anything that changes results."""
STATE_SCHEMA_VERSION = "1"
"""Changes with the form of ``state_dict``."""

EVALUATED_PARTS: tuple[Part, ...] = ("validation", "test")
OnUnit = Callable[[int, Mapping[str, float]], None]


class ModelTrainer:
    """An ordinary object: make it from its parts, then ``fit()``, or ``advance`` and ``step`` by hand."""

    def __init__(self, parts: TrainingParts, settings: TrainingSettings) -> None:
        self._parts = parts
        self._settings = settings
        self._learner = Learner(parts, settings)
        self._surroundings = Surroundings(
            seed=settings.seed,
            threads=settings.threads,
            deterministic=settings.deterministic,
            device=settings.device,
        )
        self._plan = EpochPlan(parts.data.count("train"), settings.batch_size, settings.accumulation)
        self._schedule = Schedule(
            settings.schedule, settings.optimizer.learning_rate, settings.epochs, self._plan.steps
        )
        self.before_update: BeforeUpdate | None = None
        """Called before anything changes that ``live_state`` refers to."""
        self._epoch = 0
        self._position = 0
        self._running_loss = 0.0
        self._history: list[dict[str, float]] = []
        self._best: dict[str, Tensor] = {}
        self._best_loss: float | None = None
        self._best_epoch = 0
        self._torn = False
        self._begin_epoch()

    @property
    def model(self) -> nn.Module:
        """The model with its present weights."""
        return self._learner.model

    @property
    def history(self) -> tuple[dict[str, float], ...]:
        """Figures of every finished epoch, oldest first."""
        return tuple(dict(entry) for entry in self._history)

    @property
    def best_epoch(self) -> int:
        """The epoch (counted from 1) with the best validation loss; 0 before the first one ended."""
        return self._best_epoch

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return self._plan.steps

    @property
    def total_units(self) -> int:
        """Units when nothing ends the training early."""
        epochs = self._settings.epochs
        return epochs if self._settings.unit == "epoch" else epochs * self.steps_per_epoch

    @property
    def unit(self) -> int:
        """Whole units done."""
        if self._settings.unit == "epoch":
            return self._epoch
        return self._epoch * self.steps_per_epoch + self._position // self._settings.accumulation

    @property
    def stopped_early(self) -> bool:
        """The validation loss has not improved for so many epochs as the settings allow."""
        patience = self._settings.patience
        return patience is not None and self._epoch - self._best_epoch >= patience

    @property
    def finished(self) -> bool:
        """All epochs are done, or the training stopped early."""
        return self._epoch >= self._settings.epochs or self.stopped_early

    def fit(self, on_unit: OnUnit | None = None) -> tuple[dict[str, float], ...]:
        """Train to the end and return the history."""
        while not self.finished:
            self.advance(self.unit + 1)
            if on_unit is not None:
                on_unit(self.unit, self.metrics())
        return self.history

    def advance(self, until: int) -> None:
        """Do whole units until ``until`` of them are done, or the training has finished.

        Raises:
            DivergedError: a loss, a gradient to be clipped or a weight is not finite.
        """
        self._refuse_torn()
        with self.entered():
            while self.unit < until and not self.finished:
                self._step()

    def step(self) -> None:
        """Do one micro-batch, the optimizer step when it is due, and the end of the epoch after the last one.

        Raises:
            DivergedError: a loss, a gradient to be clipped or a weight is not finite; the trainer is torn then.
        """
        self._refuse_torn()
        if self.finished:
            raise RuntimeError("the training has finished")
        with self.entered():
            self._step()

    def metrics(self) -> dict[str, float]:
        """Return the newest figures, for people."""
        newest = dict(self._history[-1]) if self._history else {}
        if self._position:
            newest["train_loss"] = self._running_loss / self._plan.samples_before(self._position)
        return {**newest, **self._learner.figures()}

    def evaluate_best(self) -> dict[Part, Evaluation]:
        """Return the best model's figures on the validation and test parts; the training goes on unchanged."""
        found: dict[Part, Evaluation] = {}
        with self.entered(), self._with_best():
            for part in EVALUATED_PARTS:
                if self._parts.data.count(part):
                    found[part] = evaluate(self.model, self._parts, part, self._settings)
        return found

    def best_weights(self) -> dict[str, Tensor]:
        """Return a copy of the best model's state dict; of the present one before any epoch ended."""
        with self._with_best():
            return copied("", self.model.state_dict())

    def present_weights(self) -> dict[str, Tensor]:
        """Return a copy of the model's present state dict."""
        return copied("", self.model.state_dict())

    def entered(self) -> AbstractContextManager[None]:
        """Have the training's random states, threads and determinism for longer than one call, at less cost."""
        return self._surroundings.entered()

    def state_dict(self) -> TrainerState:
        """Return a real copy of everything that decides how the training goes on.

        Raises:
            TornStateError: the last micro-batch raised.
        """
        live = self.live_state()
        return TrainerState(live.values, copied("", live.tensors))

    def live_state(self) -> TrainerState:
        """Return the state without copying what only an optimizer step changes.

        Parameters, optimizer, average and best are the live tensors (on their device, in their memory order)
        and hold this state until ``before_update`` is called; all else is copied.

        Raises:
            TornStateError: the last micro-batch raised.
        """
        changing = self.changing_state()
        return TrainerState(changing.values, {**changing.tensors, **self.resting_tensors()})

    def changing_state(self) -> TrainerState:
        """Return the state without ``resting_tensors``: cheap, and nothing changes it any more.

        Buffers, gradients and random states are copied; frozen parameters and best weights never change in place.

        Raises:
            TornStateError: the last micro-batch raised.
        """
        self._refuse_torn()
        values, learner = self._values(), self._learner
        tensors = {
            **copied(MODEL, learner.buffers),
            **copied(GRADIENT, learner.gradients),
            **referred(FROZEN, learner.frozen),
            **referred(BEST, {} if _best_is_present(values) else self._best),
            **referred(RANDOM, self._surroundings.random_tensors()),
        }
        return TrainerState(values, tensors)

    def resting_tensors(self) -> dict[str, Tensor]:
        """Return the live tensors that only an optimizer step changes; another thread may ask for them.

        They hold their part of the state of a boundary until ``before_update`` is called.
        """
        learner = self._learner
        return {
            **referred(MODEL, learner.trainable),
            **referred(OPTIMIZER, learner.optimizer_tensors),
            **referred(AVERAGE, learner.average.tensors if learner.average else {}),
        }

    @property
    def resting_count(self) -> int:
        """How many ``resting_tensors`` there are, at little cost; others have another count."""
        learner = self._learner
        slots = sum(map(len, learner.optimizer.state.values()))
        return len(learner.trainable) + slots + (len(learner.average.tensors) if learner.average else 0)

    def load_state_dict(self, state: TrainerState) -> None:
        """Put everything back; ``state`` is copied, and nothing is changed when it does not fit.

        Raises:
            StateMismatchError: it is of another training; every difference is named.
        """
        self.restore(state.values, TensorsInMemory(state.tensors))

    def restore(self, values: Mapping[str, Any], source: TensorSource) -> None:
        """Put everything back, read straight into place; what the source raises leaves the trainer torn.

        Raises:
            StateMismatchError: it is of another training; every difference is named, and nothing was changed.
        """
        self._check(values, source)
        if self.before_update:
            self.before_update()
        self._torn = True
        destination, restored = prepared(self._learner, source.layout())
        source.read_into(destination.tensors)
        destination.finish()
        adopt(self._learner, restored, values)
        self._surroundings.load_random_tensors(restored.random)
        self._epoch, self._position = values["epoch"], values["position"]
        self._running_loss = values["running_loss"]
        self._history = [dict(entry) for entry in values["history"]]
        self._best_loss, self._best_epoch = values["best_loss"], values["best_epoch"]
        self._best = self._evaluated_weights() if _best_is_present(values) else restored.best
        self._schedule.load_state_dict(values["scheduler"])
        self._begin_epoch()
        self._torn = False

    def _step(self) -> None:
        self._torn = True
        self._micro_batch()
        # Counted only when all is done, so that a torn trainer still says which unit was the last whole one.
        if self._plan.ends_step(self._position):
            self._optimizer_step()
        if self._plan.ends_epoch(self._position):
            self._end_epoch()
        else:
            self._position += 1
        self._torn = False

    def _begin_epoch(self) -> None:
        """What follows from the epoch alone."""
        self._order = permutation(self._settings.seed, self._epoch, self._plan.samples)
        self._learner.set_learning_rate(self._learning_rate())

    def _micro_batch(self) -> None:
        chosen = self._order[self._plan.slice_at(self._position)]
        inputs, targets = self._parts.data.batch("train", chosen)
        if self._parts.augment:
            inputs = self._parts.augment(inputs, sample_keys(self._settings.seed, self._epoch, chosen))
        loss = self._learner.compute(inputs, targets)
        value = loss.item()
        if not math.isfinite(value):
            raise DivergedError(f"the loss is {value} in {self._where()}")
        self._learner.add_gradients(loss, self._plan.accumulated(self._position))
        self._running_loss += value * len(chosen)

    def _optimizer_step(self) -> None:
        try:
            if self._schedule.changes_in_epochs:
                self._learner.set_learning_rate(self._learning_rate())
            self._learner.update(self.before_update)
            # A gradient that is not finite shows in the next loss only, and a unit ends here.
            if self._settings.unit == "step" and not self._learner.checks_gradients:
                self._learner.check_finite()
        except DivergedError as error:
            raise DivergedError(f"{error.detail} in {self._where()}") from error

    def _learning_rate(self) -> float:
        return self._schedule.learning_rate(self._epoch, self._position // self._settings.accumulation)

    def _end_epoch(self) -> None:
        self._learner.check_finite()
        with self._learner.substituted(self._learner.evaluated):
            found = evaluate(self.model, self._parts, "validation", self._settings)
        if not math.isfinite(found.loss):
            raise DivergedError(f"the validation loss is {found.loss} after epoch {self._epoch + 1}")
        self._history.append(
            {
                "epoch": self._epoch + 1,
                "learning_rate": self._learning_rate(),
                **self._learner.figures(),
                "train_loss": self._running_loss / self._plan.samples_before(self._plan.micro_batches),
                "validation_loss": found.loss,
                **{f"validation_{name}": value for name, value in found.metrics.items()},
            }
        )
        self._epoch, self._position, self._running_loss = self._epoch + 1, 0, 0.0
        improvement = self._settings.minimum_improvement
        if self._best_loss is None or found.loss < self._best_loss - improvement:
            self._best_loss, self._best_epoch = found.loss, self._epoch
            self._best = self._evaluated_weights()
        self._schedule.epoch_ended(found.loss)
        self._begin_epoch()

    def _evaluated_weights(self) -> dict[str, Tensor]:
        return copied("", {**self._learner.evaluated, **self._learner.buffers})

    def _where(self) -> str:
        return f"epoch {self._epoch + 1}, micro-batch {self._position + 1} of {self._plan.micro_batches}"

    def _refuse_torn(self) -> None:
        if self._torn:
            raise TornStateError

    def _with_best(self) -> AbstractContextManager[None]:
        if self.before_update:
            self.before_update()  # tensors change places, and somebody may be reading them
        return self._learner.substituted(self._best)

    def _values(self) -> dict[str, Any]:
        learner = self._learner
        return {
            "epoch": self._epoch,
            "position": self._position,
            "running_loss": self._running_loss,
            "history": [dict(entry) for entry in self._history],
            "best_loss": self._best_loss,
            "best_epoch": self._best_epoch,
            "scheduler": self._schedule.state_dict(),
            "averaged_steps": learner.average.steps if learner.average else 0,
            "scaler": learner.scaler_state(),
        }

    def _check(self, values: Mapping[str, Any], source: TensorSource) -> None:
        check_values(values)
        self._schedule.check_state(values["scheduler"])
        if wrong := sorted(values["scaler"].keys() ^ self._learner.scaler_state().keys()):
            raise StateMismatchError("of the scaler missing or unknown: " + ", ".join(wrong))
        problems = state_problems(
            self._learner,
            self._surroundings.random_tensors(),
            values,
            source.layout(),
            best_is_present=_best_is_present(values),
        )
        if problems:
            raise StateMismatchError("; ".join(problems))


def _best_is_present(values: Mapping[str, Any]) -> bool:
    """Whether the best weights are the evaluated ones of this very moment, and follow from them."""
    return values["position"] == 0 and 0 < values["epoch"] == values["best_epoch"]
