"""How far a training has come: what it has done, what it found, and when it is done."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from milepost_trainer.engine.order import EpochPlan
from milepost_trainer.engine.settings import TrainingSettings


class Progress:
    """Counts epochs and micro-batches, and keeps the history and the best model."""

    def __init__(self, plan: EpochPlan, settings: TrainingSettings) -> None:
        self._plan = plan
        self._settings = settings
        self.epoch = 0
        """Epochs done."""
        self.position = 0
        """Micro-batches done in this epoch."""
        self.history: list[dict[str, float]] = []
        """Figures of every finished epoch, oldest first; entries never change."""
        self.best: dict[str, Tensor] = {}
        """Weights and buffers of the best model; never changed in place. Empty before the first epoch ended."""
        self.best_epoch = 0
        """The epoch (counted from 1) with the best validation loss; 0 before the first one ended."""
        self._best_loss: float | None = None
        self._running_loss = 0.0

    @property
    def step(self) -> int:
        """Optimizer steps done in this epoch."""
        return self.position // self._settings.accumulation

    @property
    def unit(self) -> int:
        """Whole units done."""
        return self.epoch if self._settings.unit == "epoch" else self.epoch * self._plan.steps + self.step

    @property
    def total_units(self) -> int:
        """Units when nothing ends the training early."""
        epochs = self._settings.epochs
        return epochs if self._settings.unit == "epoch" else epochs * self._plan.steps

    @property
    def stopped_early(self) -> bool:
        """The validation loss has not improved for so many epochs as the settings allow."""
        patience = self._settings.patience
        return patience is not None and self.epoch - self.best_epoch >= patience

    @property
    def finished(self) -> bool:
        """All epochs are done, or the training stopped early."""
        return self.epoch >= self._settings.epochs or self.stopped_early

    @property
    def place(self) -> str:
        """The micro-batch to be done, in words."""
        return f"epoch {self.epoch + 1}, micro-batch {self.position + 1} of {self._plan.micro_batches}"

    def add_loss(self, loss: float, samples: int) -> None:
        """Take in the mean loss of a micro-batch."""
        self._running_loss += loss * samples

    def train_loss(self, micro_batches: int) -> float:
        """Return the mean loss of this epoch's samples, whose first so many micro-batches were added."""
        return self._running_loss / self._plan.samples_before(micro_batches)

    def newest(self) -> dict[str, float]:
        """Return the figures of the last finished epoch, with the training loss of the one that was begun."""
        figures = dict(self.history[-1]) if self.history else {}
        if self.position:
            figures["train_loss"] = self.train_loss(self.position)
        return figures

    def next_epoch(self, figures: Mapping[str, float]) -> bool:
        """Go on to the next epoch with the figures of this one; whether its model is the best so far.

        If so, the caller sets ``best``.
        """
        self.history.append(dict(figures))
        self.epoch, self.position, self._running_loss = self.epoch + 1, 0, 0.0
        loss = figures["validation_loss"]
        improves = self._best_loss is None or loss < self._best_loss - self._settings.minimum_improvement
        if improves:
            self._best_loss, self.best_epoch = loss, self.epoch
        return improves

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the weights of the best model; entries of the history are not to be changed."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "running_loss": self._running_loss,
            "history": list(self.history),
            "best_loss": self._best_loss,
            "best_epoch": self.best_epoch,
        }

    def load_state_dict(self, values: Mapping[str, Any], best: dict[str, Tensor]) -> None:
        """Put back what ``state_dict`` gave (``values`` may hold more), and the weights of the best model."""
        self.epoch, self.position = values["epoch"], values["position"]
        self._running_loss = values["running_loss"]
        self.history = [dict(entry) for entry in values["history"]]
        self._best_loss, self.best_epoch = values["best_loss"], values["best_epoch"]
        self.best = best


def best_is_present(values: Mapping[str, Any]) -> bool:
    """Tell whether the best weights are the evaluated ones of this very moment, and follow from them."""
    return values["position"] == 0 and 0 < values["epoch"] == values["best_epoch"]
