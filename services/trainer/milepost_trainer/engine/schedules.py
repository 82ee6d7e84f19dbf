"""The learning rate of each optimizer step; only plateau remembers anything, the others follow from the step."""

import math
from collections.abc import Mapping
from typing import Any

from milepost_trainer.engine.errors import StateMismatchError
from milepost_trainer.engine.settings import ScheduleSettings

_REMEMBERED = ("best", "wait", "cuts")


class Schedule:
    """One-cycle changes the rate with each optimizer step, the others with each epoch."""

    def __init__(
        self, settings: ScheduleSettings, learning_rate: float, epochs: int, steps_per_epoch: int = 1
    ) -> None:
        self._settings = settings
        self._initial = learning_rate
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._best: float | None = None
        self._wait = 0
        self._cuts = 0

    @property
    def changes_in_epochs(self) -> bool:
        """Whether two steps of one epoch may have different rates."""
        return self._settings.name == "one-cycle"

    def learning_rate(self, epoch: int, step: int = 0) -> float:
        """Return the learning rate for the optimizer step ``step`` of the epoch ``epoch``, both counted from
        0."""
        settings = self._settings
        match settings.name:
            case "none":
                rate = self._initial
            case "step":
                rate = self._initial * settings.factor ** (epoch // settings.every_epochs)
            case "cosine":
                rate = _between(self._initial, settings.minimum, epoch / self._epochs)
            case "plateau":
                rate = self._initial * settings.factor**self._cuts
            case "one-cycle":
                total = self._epochs * self._steps_per_epoch
                rate = one_cycle(settings, self._initial, epoch * self._steps_per_epoch + step, total)
        return max(rate, settings.minimum)

    def epoch_ended(self, validation_loss: float) -> None:
        """Take the loss into account."""
        if self._settings.name != "plateau":
            return
        if self._best is None or validation_loss < self._best:
            self._best, self._wait = validation_loss, 0
            return
        self._wait += 1
        if self._wait > self._settings.patience:
            self._cuts, self._wait = self._cuts + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers."""
        if self._settings.name != "plateau":
            return {}
        return {"best": self._best, "wait": self._wait, "cuts": self._cuts}

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse what ``state_dict`` does not give.

        Raises:
            StateMismatchError: fields are missing or unknown; each is named.
        """
        if wrong := sorted(state.keys() ^ self.state_dict().keys()):
            raise StateMismatchError("of the scheduler missing or unknown: " + ", ".join(wrong))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what ``state_dict`` gave."""
        if self._settings.name == "plateau":
            self._best, self._wait, self._cuts = (state[name] for name in _REMEMBERED)


def one_cycle(settings: ScheduleSettings, peak: float, step: int, total: int) -> float:
    """Return the rate of a step: up from ``peak / start_factor`` by a cosine, then down by another one.

    The way up ends at the step ``warmup_share * total - 1``, the way down at the last step with ``peak /
    start_factor / end_factor``. After Smith and Topin, Super-Convergence (arXiv:1708.07120); phases and
    factors as in torch's ``OneCycleLR`` with cosine annealing, of which it is a closed form.
    """
    first = peak / settings.start_factor
    top, last = max(settings.warmup_share * total - 1, 0), total - 1
    if step < top:
        return _between(first, peak, step / top)
    if last <= top:
        return peak
    return _between(peak, first / settings.end_factor, (step - top) / (last - top))


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine from ``start`` to ``end``."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
