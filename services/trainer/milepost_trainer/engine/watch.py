"""What a state rests on and torch does not enforce, watched: a resumed run must not differ without a word.

Frozen parameters never change, so they are saved once. Weights change in optimizer steps only, so they are copied
while forward and backward passes run. An optimizer keeps all it knows for each parameter, where it is saved. A
team's own model or optimizer that does otherwise is refused by name, with what to do instead.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from milepost_trainer.engine.errors import TrainingError

SCHEDULED = frozenset({"params", "lr"})
"""Fields of an optimizer's groups that follow from the settings."""


class Watch:
    """Compares what must not have changed with how it was; torch counts changes in place."""

    def __init__(
        self,
        trainable: Mapping[str, nn.Parameter],
        frozen: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        """``optimizer`` is a task's own one; None: one of ours, which keeps to the rules."""
        self._trainable = trainable
        self._frozen = frozen
        self._optimizer = optimizer
        self._group_fields = self._fields_of_groups()
        self._weights: list[int] | None = None
        self._frozen_marks: list[tuple[int, int]] = []
        self.note_frozen()

    def note_frozen(self) -> None:
        """Take the frozen parameters as they are for what they stay."""
        self._frozen_marks = [(_changes(value), value.data_ptr()) for value in self._frozen.values()]

    def note_weights(self) -> None:
        """Take the weights as they are for what they stay until the next optimizer step."""
        self._weights = list(map(_changes, self._trainable.values()))

    def forget_weights(self) -> None:
        """They were put back, which is no step."""
        self._weights = None

    def check_weights(self) -> None:
        """Refuse weights that changed since the boundary although no step was done.

        Raises:
            TrainingError: the parameter is named.
        """
        noted, self._weights = self._weights, None
        if noted is None:
            return
        present = list(map(_changes, self._trainable.values()))
        if present == noted:
            return
        name = next(
            name for name, now, before in zip(self._trainable, present, noted, strict=True) if now != before
        )
        raise TrainingError(
            f"the parameter {name} was changed outside the optimizer's step; "
            "compute a changed copy in forward() instead"
        )

    def check_unsaved(self) -> None:
        """Refuse changes that no state holds.

        Raises:
            TrainingError: a frozen parameter changed, or the optimizer keeps something that is not saved.
        """
        for (name, value), mark in zip(self._frozen.items(), self._frozen_marks, strict=True):
            if (_changes(value), value.data_ptr()) != mark:
                raise TrainingError(f"the frozen parameter {name} changed; make it a buffer, which is saved")
        if self._optimizer is None:
            return
        parameters = {id(value) for value in self._trainable.values()}
        for key in self._optimizer.state:
            if id(key) not in parameters:
                raise TrainingError(f"the optimizer keeps {key!r} for no parameter; it cannot be saved")
        for before, now in zip(self._group_fields, self._fields_of_groups(), strict=True):
            changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
            if changed:
                raise TrainingError(
                    f"the optimizer changed {', '.join(changed)} of its groups, which is not saved; "
                    "keep such values in its state of a parameter"
                )

    def _fields_of_groups(self) -> list[dict[str, str]]:
        groups: list[dict[str, Any]] = self._optimizer.param_groups if self._optimizer else []
        return [
            {name: repr(value) for name, value in group.items() if name not in SCHEDULED} for group in groups
        ]


_changes: Callable[[nn.Parameter], int] = attrgetter("_version")
