"""What forward and backward passes compute in; weights and optimizer stay float32.

With float16 gradients would underflow, so the loss is scaled up; a step whose gradients overflowed is left
out and the scale halved (Micikevicius and others, Mixed Precision Training, arXiv:1710.03740). That is no
divergence, unless the scale falls below 1.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from milepost_trainer.engine.errors import DivergedError
from milepost_trainer.engine.settings import Precision

SCALE_AT_FIRST = 2.0**16
STEPS_BEFORE_GROWTH = 2000
"""Steps without overflow after which the scale is doubled; both are torch's defaults."""

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def computing_in(precision: Precision, device: str) -> AbstractContextManager[Any]:
    """Return the context for forward passes and losses."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device, dtype=_DTYPES[precision])


class LossScaler:
    """Torch's ``GradScaler`` for one optimizer, and how many steps it left out."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._scaler = _new_scaler(device)
        self.skipped_steps = 0

    @property
    def scale(self) -> float:
        """What the loss is multiplied by at present."""
        return self._scaler.get_scale()

    def backward(self, loss: Tensor) -> None:
        """Add up scaled gradients."""
        scaled: Tensor = self._scaler.scale(loss)
        scaled.backward()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Turn the gradients into those of the loss itself."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Do the optimizer's step; False when it was left out.

        Raises:
            DivergedError: the gradients are not finite however small the scale.
        """
        before = self.scale
        self._scaler.step(optimizer)
        self._scaler.update()
        after = self.scale
        if after >= before:
            return True
        self.skipped_steps += 1
        if after < 1:
            raise DivergedError(f"the gradient is not finite and the loss scale is {after}")
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers."""
        state = self._scaler.state_dict()
        return {
            "scale": state["scale"],
            "steps_since_change": state["_growth_tracker"],
            "skipped_steps": self.skipped_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what ``state_dict`` gave."""
        whole = {"scale": state["scale"], "_growth_tracker": state["steps_since_change"]}
        # A new one: torch's own load leaves in place what a step that raised had begun.
        self._scaler = _new_scaler(self._device)
        self._scaler.load_state_dict({**self._scaler.state_dict(), **whole})
        self.skipped_steps = state["skipped_steps"]


def _new_scaler(device: str) -> torch.amp.GradScaler:
    return torch.amp.GradScaler(device, init_scale=SCALE_AT_FIRST, growth_interval=STEPS_BEFORE_GROWTH)
