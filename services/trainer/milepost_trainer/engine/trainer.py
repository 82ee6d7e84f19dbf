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
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from milepost_trainer.engine.errors import DivergedError, TornStateError, TrainingError
from milepost_trainer.engine.evaluation import Evaluation, evaluate
from milepost_trainer.engine.keyed_random import sample_keys
from milepost_trainer.engine.learner import BeforeUpdate, Learner
from milepost_trainer.engine.order import EpochPlan, permutation
from milepost_trainer.engine.parts import Part, TrainingParts
from milepost_trainer.engine.progress import Progress
from milepost_trainer.engine.schedules import Schedule
from milepost_trainer.engine.settings import TrainingSettings
from milepost_trainer.engine.state import Boundary, TensorsInMemory, TensorSource, TrainerState, copied
from milepost_trainer.engine.surroundings import Surroundings
from milepost_trainer.engine.training_state import TrainingState

ENGINE_VERSION = "1"
"""Changes with anything that changes results."""
STATE_SCHEMA_VERSION = "1"
"""Changes with the form of ``state_dict``."""

RESERVED_METRICS = frozenset({"loss", "samples"})
EVALUATED_PARTS: tuple[Part, ...] = ("validation", "test")
OnUnit = Callable[[int, Mapping[str, float]], None]


class ModelTrainer:
    """An ordinary object: make it from its parts, then ``fit()``, or ``advance`` and ``step`` by hand."""

    def __init__(self, parts: TrainingParts, settings: TrainingSettings) -> None:
        _check(parts)
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
        self._progress = Progress(self._plan, settings)
        self._state = TrainingState(self._learner, self._progress, self._schedule, self._surroundings)
        self.before_update: BeforeUpdate | None = None
        """Called before anything changes that ``live_state`` refers to."""
        self._torn = False
        self._begin_epoch()

    @property
    def model(self) -> nn.Module:
        """The model with its present weights."""
        return self._learner.model

    @property
    def history(self) -> tuple[dict[str, float], ...]:
        """Figures of every finished epoch, oldest first."""
        return tuple(dict(entry) for entry in self._progress.history)

    @property
    def best_epoch(self) -> int:
        """The epoch (counted from 1) with the best validation loss; 0 before the first one ended."""
        return self._progress.best_epoch

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return self._plan.steps

    @property
    def total_units(self) -> int:
        """Units when nothing ends the training early."""
        return self._progress.total_units

    @property
    def unit(self) -> int:
        """Whole units done."""
        return self._progress.unit

    @property
    def stopped_early(self) -> bool:
        """The validation loss has not improved for so many epochs as the settings allow."""
        return self._progress.stopped_early

    @property
    def finished(self) -> bool:
        """All epochs are done, or the training stopped early."""
        return self._progress.finished

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

    def _step(self) -> None:
        self._torn = True
        self._micro_batch()
        # Counted only when all is done, so that a torn trainer still says which unit was the last whole one.
        progress = self._progress
        if self._plan.ends_step(progress.position):
            self._optimizer_step()
        if self._plan.ends_epoch(progress.position):
            self._end_epoch()
        else:
            progress.position += 1
        self._torn = False

    def _micro_batch(self) -> None:
        progress = self._progress
        chosen = self._order[self._plan.slice_at(progress.position)]
        inputs, targets = self._parts.data.batch("train", chosen)
        if self._parts.augment:
            inputs = self._parts.augment(inputs, sample_keys(self._settings.seed, progress.epoch, chosen))
        loss = self._learner.compute(inputs, targets)
        value = loss.item()
        if not math.isfinite(value):
            raise DivergedError(f"the loss is {value} in {progress.place}")
        self._learner.add_gradients(loss, self._plan.accumulated(progress.position))
        progress.add_loss(value, len(chosen))

    def _optimizer_step(self) -> None:
        try:
            if self._schedule.changes_in_epochs:
                self._learner.set_learning_rate(self._learning_rate())
            self._learner.update(self.before_update)
            # A gradient that is not finite shows in the next loss only, and a unit ends here.
            if self._settings.unit == "step" and not self._learner.checks_gradients:
                self._learner.check_finite()
        except DivergedError as error:
            raise DivergedError(f"{error.detail} in {self._progress.place}") from error

    def _end_epoch(self) -> None:
        learner, progress = self._learner, self._progress
        learner.check_finite()
        with learner.substituted(learner.evaluated):
            found = evaluate(self.model, self._parts, "validation", self._settings)
        if not math.isfinite(found.loss):
            raise DivergedError(f"the validation loss is {found.loss} after epoch {progress.epoch + 1}")
        for name, value in found.metrics.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"the metric {name} is {value} on validation after epoch {progress.epoch + 1}"
                )
        figures = {
            "epoch": progress.epoch + 1,
            "learning_rate": self._learning_rate(),
            **learner.figures(),
            "train_loss": progress.train_loss(self._plan.micro_batches),
            "validation_loss": found.loss,
            **{f"validation_{name}": value for name, value in found.metrics.items()},
        }
        if progress.next_epoch(figures):
            progress.best = learner.evaluated_copy()
        self._schedule.epoch_ended(found.loss)
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        """What follows from the epoch alone."""
        self._order = permutation(self._settings.seed, self._progress.epoch, self._plan.samples)
        self._learner.set_learning_rate(self._learning_rate())

    def _learning_rate(self) -> float:
        return self._schedule.learning_rate(self._progress.epoch, self._progress.step)

    def metrics(self) -> dict[str, float]:
        """Return the newest figures, for people."""
        return {**self._progress.newest(), **self._learner.figures()}

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
        return TrainerState(deepcopy(live.values), copied("", live.tensors))

    def live_state(self) -> TrainerState:
        """Return the state without copying what only an optimizer step changes.

        Parameters, optimizer, average and best are the live tensors (on their device, in their memory order)
        and hold this state until ``before_update`` is called; all else is copied.

        Raises:
            TornStateError: the last micro-batch raised.
        """
        self._refuse_torn()
        return self._state.whole()

    def boundary(self) -> Boundary:
        """Return the state without ``resting_tensors``, at little cost.

        Raises:
            TornStateError: the last micro-batch raised.
        """
        self._refuse_torn()
        return self._state.boundary()

    def resting_tensors(self) -> dict[str, Tensor]:
        """Return the live tensors that only an optimizer step changes; another thread may ask for them.

        They hold their part of the state of a boundary until ``before_update`` is called.
        """
        return self._state.resting()

    @property
    def resting_count(self) -> int:
        """How many ``resting_tensors`` there are, at little cost; others have another count."""
        return self._state.resting_count

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
        self._state.check(values, source)
        if self.before_update:
            self.before_update()
        self._torn = True
        self._state.put_back(values, source)
        self._begin_epoch()
        self._torn = False

    def _refuse_torn(self) -> None:
        if self._torn:
            raise TornStateError

    def _with_best(self) -> AbstractContextManager[None]:
        if self.before_update:
            self.before_update()  # tensors change places, and somebody may be reading them
        return self._learner.substituted(self._progress.best)


def _check(parts: TrainingParts) -> None:
    """Refuse parts that no training can be made of.

    Raises:
        TrainingError: every problem is named.
    """
    wanted: tuple[Part, ...] = ("train", "validation")
    problems = [f"the {part} part has no samples" for part in wanted if not parts.data.count(part)]
    taken = sorted(RESERVED_METRICS & parts.metrics.keys())
    problems += [f"a metric cannot be called {name}, which is a figure of its own" for name in taken]
    if problems:
        raise TrainingError("; ".join(problems))
