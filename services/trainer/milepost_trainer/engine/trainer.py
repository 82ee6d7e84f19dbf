"""The engine: trains a model and can be stopped after any micro-batch and go on exactly.

States: between two micro-batches everything is whole and ``state_dict`` gives a copy of it; an exception inside
one leaves the trainer torn, and only ``load_state_dict`` mends it. Authority: what is in ``STATE_FIELDS`` and in
the tensors; the order of samples, the learning rate and the accumulated micro-batches follow from them and from
the settings. The gradients of an unfinished accumulation are part of the state; at the end of an epoch what is
left makes a step of its own.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from milepost_trainer.engine.errors import DivergedError, StateMismatchError, TornStateError
from milepost_trainer.engine.evaluation import Evaluation, evaluate
from milepost_trainer.engine.optimizers import (
    Schedule,
    build_optimizer,
    load_optimizer_tensors,
    optimizer_tensors,
)
from milepost_trainer.engine.order import permutation
from milepost_trainer.engine.parts import Part, TrainingParts
from milepost_trainer.engine.settings import TrainingSettings
from milepost_trainer.engine.state import (
    BEST,
    GRADIENT,
    MODEL,
    OPTIMIZER,
    RANDOM,
    TrainerState,
    check_values,
    copied,
    problems_of,
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
        self._model = parts.model.train()
        self._settings = settings
        self._optimizer = build_optimizer(settings.optimizer, self._model.parameters())
        self._schedule = Schedule(settings.schedule, settings.optimizer.learning_rate, settings.epochs)
        self._surroundings = Surroundings(
            seed=settings.seed, threads=settings.threads, deterministic=settings.deterministic
        )
        # A last micro-batch of one sample is left out: batch normalization has no variance of it.
        self._samples_count = samples = parts.data.count("train")
        self._micro_batches = max(1, samples // settings.batch_size + (samples % settings.batch_size > 1))
        self.steps_per_epoch = math.ceil(self._micro_batches / settings.accumulation)
        """Optimizer steps in an epoch."""
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
        return self._model

    @property
    def history(self) -> tuple[dict[str, float], ...]:
        """Figures of every finished epoch, oldest first."""
        return tuple(dict(entry) for entry in self._history)

    @property
    def best_epoch(self) -> int:
        """The epoch (counted from 1) with the best validation loss; 0 before the first one ended."""
        return self._best_epoch

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
            DivergedError: a loss or a gradient is not finite.
        """
        self._refuse_torn()
        with self._surroundings.entered():
            while self.unit < until and not self.finished:
                self._step()

    def step(self) -> None:
        """Do one micro-batch, the optimizer step when it is due, and the end of the epoch after the last one.

        Raises:
            DivergedError: a loss or a gradient is not finite; the trainer is torn then.
        """
        self._refuse_torn()
        if self.finished:
            raise RuntimeError("the training has finished")
        with self._surroundings.entered():
            self._step()

    def metrics(self) -> dict[str, float]:
        """Return the newest figures, for people."""
        newest = dict(self._history[-1]) if self._history else {}
        if self._position:
            newest["train_loss"] = self._running_loss / self._samples(self._position)
        return newest

    def evaluate_best(self) -> dict[Part, Evaluation]:
        """Return the best model's figures on the validation and test parts; the training goes on unchanged."""
        current = copied("", self._model.state_dict())
        with self._surroundings.entered():
            self._model.load_state_dict(self._best or current)
            found: dict[Part, Evaluation] = {}
            for part in EVALUATED_PARTS:
                if self._parts.data.count(part):
                    found[part] = evaluate(self._model, self._parts, part)
            self._model.load_state_dict(current)
        return found

    def best_weights(self) -> dict[str, Tensor]:
        """Return a copy of the best model's parameters and buffers; of the present ones before any epoch ended."""
        return copied("", self._best or self._model.state_dict())

    def state_dict(self) -> TrainerState:
        """Return a real copy of everything that decides how the training goes on.

        Raises:
            TornStateError: the last micro-batch raised.
        """
        self._refuse_torn()
        gradients = {
            name: parameter.grad
            for name, parameter in self._model.named_parameters()
            if parameter.grad is not None
        }
        return TrainerState(
            values={
                "epoch": self._epoch,
                "position": self._position,
                "running_loss": self._running_loss,
                "history": [dict(entry) for entry in self._history],
                "best_loss": self._best_loss,
                "best_epoch": self._best_epoch,
                "scheduler": self._schedule.state_dict(),
            },
            tensors={
                **copied(MODEL, self._model.state_dict()),
                **copied(OPTIMIZER, optimizer_tensors(self._optimizer, self._model)),
                **copied(GRADIENT, gradients),
                **copied(BEST, self._best),
                RANDOM: self._surroundings.random_state.clone(),
            },
        )

    def load_state_dict(self, state: TrainerState) -> None:
        """Put everything back; ``state`` is copied, and nothing is changed when it does not fit.

        Raises:
            StateMismatchError: it is of another training; every difference is named.
        """
        self._check(state)
        values: Mapping[str, Any] = state.values
        self._model.load_state_dict(state.part(MODEL))
        load_optimizer_tensors(self._optimizer, self._model, state.part(OPTIMIZER))
        gradients = state.part(GRADIENT)
        for name, parameter in self._model.named_parameters():
            parameter.grad = gradients[name].clone() if name in gradients else None
        self._best = copied("", state.part(BEST))
        self._surroundings.random_state = state.tensors[RANDOM]
        self._epoch, self._position = values["epoch"], values["position"]
        self._running_loss = values["running_loss"]
        self._history = [dict(entry) for entry in values["history"]]
        self._best_loss, self._best_epoch = values["best_loss"], values["best_epoch"]
        self._schedule.load_state_dict(values["scheduler"])
        self._torn = False
        self._begin_epoch()

    def _step(self) -> None:
        self._torn = True
        self._micro_batch()
        # Counted only when all is done, so that a torn trainer still says which unit was the last whole one.
        done = self._position + 1
        if done == self._micro_batches or done % self._settings.accumulation == 0:
            self._optimizer_step()
        if done == self._micro_batches:
            self._end_epoch()
        else:
            self._position = done
        self._torn = False

    def _begin_epoch(self) -> None:
        """What follows from the epoch alone."""
        self._order = permutation(self._settings.seed, self._epoch, self._samples_count)
        self._learning_rate = self._schedule.learning_rate(self._epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate

    def _micro_batch(self) -> None:
        size = self._settings.batch_size
        chosen = self._order[self._position * size : (self._position + 1) * size]
        inputs, targets = self._parts.data.batch("train", chosen)
        loss = self._parts.loss(self._model(inputs), targets)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError(f"the loss is {value} in {self._where()}")
        # The mean over the accumulation; the last one of an epoch may hold fewer micro-batches.
        (loss / self._accumulated()).backward()  # pyright: ignore[reportUnknownMemberType] - torch leaves it untyped
        self._running_loss += value * len(chosen)

    def _accumulated(self) -> int:
        size = self._settings.accumulation
        return min(size, self._micro_batches - self._position // size * size)

    def _optimizer_step(self) -> None:
        parameters = list(self._model.parameters())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients, foreach=False)
        if self._settings.gradient_clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, self._settings.gradient_clip, norm, foreach=False)
        if not math.isfinite(float(norm)):
            raise DivergedError(f"the gradient's norm is {float(norm)} in {self._where()}")
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _end_epoch(self) -> None:
        settings = self._settings
        found = evaluate(self._model, self._parts, "validation")
        if not math.isfinite(found.loss):
            raise DivergedError(f"the validation loss is {found.loss} after epoch {self._epoch + 1}")
        self._history.append(
            {
                "epoch": self._epoch + 1,
                "learning_rate": self._learning_rate,
                "train_loss": self._running_loss / self._samples(self._micro_batches),
                "validation_loss": found.loss,
                **{f"validation_{name}": value for name, value in found.metrics.items()},
            }
        )
        self._epoch, self._position, self._running_loss = self._epoch + 1, 0, 0.0
        if self._best_loss is None or found.loss < self._best_loss - settings.minimum_improvement:
            self._best_loss, self._best_epoch = found.loss, self._epoch
            self._best = copied("", self._model.state_dict())
        self._schedule.epoch_ended(found.loss)
        self._begin_epoch()

    def _samples(self, micro_batches: int) -> int:
        return min(micro_batches * self._settings.batch_size, self._samples_count)

    def _where(self) -> str:
        return f"epoch {self._epoch + 1}, micro-batch {self._position + 1} of {self._micro_batches}"

    def _refuse_torn(self) -> None:
        if self._torn:
            raise TornStateError

    def _check(self, state: TrainerState) -> None:
        check_values(state.values)
        model = self._model.state_dict()
        parameters = dict(self._model.named_parameters())
        problems = problems_of(state.part(MODEL), model, what=MODEL)
        problems += problems_of(
            state.part(BEST), model, what=BEST, all_of_them=state.values["best_loss"] is not None
        )
        problems += problems_of(state.part(GRADIENT), parameters, what=GRADIENT, all_of_them=False)
        slots = state.part(OPTIMIZER)
        problems += [
            f"{OPTIMIZER}{key} is of no parameter"
            for key in slots
            if key.rpartition(".")[0] not in parameters
        ]
        random = {RANDOM: self._surroundings.random_state}
        problems += problems_of(
            {RANDOM: state.tensors[RANDOM]} if RANDOM in state.tensors else {}, random, what=""
        )
        if problems:
            raise StateMismatchError("; ".join(problems))
