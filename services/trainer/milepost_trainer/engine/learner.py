"""The model and what changes it: optimizer, loss scaler and average."""

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from milepost_trainer.engine.averaging import WeightAverage
from milepost_trainer.engine.buffers import Buffers
from milepost_trainer.engine.errors import DivergedError, TrainingError
from milepost_trainer.engine.optimizers import build_optimizer, optimizer_tensors, slots_of
from milepost_trainer.engine.parts import TrainingParts
from milepost_trainer.engine.precision import LossScaler, computing_in
from milepost_trainer.engine.settings import TrainingSettings
from milepost_trainer.engine.state import copied
from milepost_trainer.engine.watch import Watch

BeforeUpdate = Callable[[], None]


class Learner:
    """Learns from one micro-batch at a time, and changes its weights when told to."""

    def __init__(self, parts: TrainingParts, settings: TrainingSettings) -> None:
        self.model = parts.model.to(settings.device).train()
        self._loss = parts.loss.to(settings.device) if isinstance(parts.loss, nn.Module) else parts.loss
        # Compiled is the way there only: names and tensors of the state are the model's own. Never for several
        # shapes at once: which code a shape gets would depend on the shapes seen before it, and so on resumes.
        self._forward: Callable[[Tensor], Tensor] = (
            torch.compile(self.model, dynamic=False) if settings.compile else self.model
        )
        self._settings = settings
        self._is_plain = settings.device == "cpu" and settings.precision == "float32"
        parameters = dict(self.model.named_parameters())
        self.trainable = {name: value for name, value in parameters.items() if value.requires_grad}
        """Parameters that change, by name."""
        self.frozen = {name: value for name, value in parameters.items() if not value.requires_grad}
        self._parameters = list(self.trainable.values())
        self._buffers = Buffers(self.model)
        self._no_gradients = False
        """All gradients were given up after a step of an optimizer of ours, which has all parameters."""
        if not self._parameters:
            raise TrainingError("the model has no parameter that needs a gradient")
        own = parts.build_optimizer
        self.optimizer = (
            own(self._parameters) if own else build_optimizer(settings.optimizer, self._parameters)
        )
        self._watch = Watch(self.trainable, self.frozen, self.optimizer if own else None)
        self.slots = None if own else slots_of(settings.optimizer)
        """What the optimizer keeps for each parameter; None when that is not known."""
        self._base_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.scaler = LossScaler(settings.device) if settings.precision == "float16" else None
        decay = settings.averaging_decay
        self.average = None if decay is None else WeightAverage(decay, self.trainable)

    @property
    def buffers(self) -> dict[str, Tensor]:
        """The model's buffers by name."""
        return self._buffers.by_name()

    def check_buffers(self) -> None:
        """Make sure that ``buffers`` were all; any thread may call it.

        Raises:
            TrainingError: a module has other dictionaries than it had.
        """
        self._buffers.check()

    @property
    def gradients(self) -> dict[str, Tensor]:
        """Gradients added up so far, by parameter name."""
        if self._no_gradients:
            return {}
        return {name: value.grad for name, value in self.trainable.items() if value.grad is not None}

    @property
    def optimizer_tensors(self) -> dict[str, Tensor]:
        """What the optimizer keeps, by parameter name and slot."""
        return optimizer_tensors(self.optimizer, self.trainable)

    @property
    def optimizer_tensor_count(self) -> int:
        """How many ``optimizer_tensors`` there are, at little cost."""
        kept = self.optimizer.state.values()
        if self.slots is not None:  # ours keep all of them for a parameter, or do not know it
            return len(self.slots) * len(kept)
        return sum(isinstance(value, Tensor) for found in kept for value in found.values())

    @property
    def evaluated(self) -> Mapping[str, Tensor]:
        """The trainable weights that are validated and kept: the average once there is one."""
        return (self.average.tensors if self.average else {}) or self.trainable

    def evaluated_copy(self) -> dict[str, Tensor]:
        """Return a copy of what is validated, with the buffers, by name."""
        return copied("", {**self.evaluated, **self.buffers})

    def boundary(self) -> None:
        """Refuse what a state could not hold; see ``Watch``.

        Raises:
            TrainingError: something changed that only stays the same, or is not saved; it is named.
        """
        self._watch.check_unsaved()
        self._watch.note_weights()

    def restored(self) -> None:
        """Take what was put back for what the coming boundaries begin with."""
        self._no_gradients = False
        self._watch.note_frozen()
        self._watch.forget_weights()

    def compute(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a micro-batch."""
        if self._is_plain:
            return self._loss(self._forward(inputs), targets)
        inputs, targets = inputs.to(self._settings.device), targets.to(self._settings.device)
        with computing_in(self._settings.precision, self._settings.device):
            return self._loss(self._forward(inputs), targets)

    def add_gradients(self, loss: Tensor, micro_batches: int) -> None:
        """Add the gradients of a micro-batch's loss to the mean over an accumulation."""
        self._no_gradients = False
        if micro_batches > 1:
            loss = loss / micro_batches
        if self.scaler:
            self.scaler.backward(loss)
        else:
            loss.backward()  # pyright: ignore[reportUnknownMemberType] - torch leaves it untyped

    def update(self, before: BeforeUpdate | None) -> None:
        """Do the optimizer step; ``before`` is called before weights, optimizer or average change.

        Raises:
            DivergedError: the gradient to be clipped is not finite, or the loss scale fell below 1.
        """
        if self.scaler:
            self.scaler.unscale(self.optimizer)
        if self._settings.gradient_clip is not None:
            self._clip(self._settings.gradient_clip)
        self._watch.check_weights()
        if before:
            before()
        stepped = True
        if self.scaler:
            stepped = self.scaler.step(self.optimizer)
        else:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._no_gradients = self.slots is not None
        if stepped and self.average:
            self.average.update()

    @property
    def checks_gradients(self) -> bool:
        """No step is done with a gradient that is not finite, so the weights stay finite."""
        return self.scaler is not None or self._settings.gradient_clip is not None

    def check_finite(self) -> None:
        """Refuse weights that are not finite.

        Raises:
            DivergedError: one of them is not.
        """
        # The sum of a tensor is finite only when all of it is; one that overflows has diverged as well.
        with torch.no_grad():
            if math.isfinite(sum([value.sum().item() for value in self._parameters])):
                return
            wrong = (name for name, value in self.trainable.items() if not bool(value.isfinite().all()))
            raise DivergedError(f"{next(wrong, 'the sum of the weights')} is not finite")

    @contextmanager
    def substituted(self, weights: Mapping[str, Tensor]) -> Generator[None]:
        """Let the model have other weights for a while; the tensors change places, nothing is copied."""
        own = {**self.trainable, **self.buffers}
        chosen = [(own[name], value) for name, value in weights.items() if own[name] is not value]
        kept = [target.data for target, _ in chosen]
        for target, value in chosen:
            target.data = value.detach()
        try:
            yield
        finally:
            for (target, _), value in zip(chosen, kept, strict=True):
                target.data = value

    def figures(self) -> dict[str, float]:
        """Return what people want to know of the loss scaler; nothing when there is none."""
        if not self.scaler:
            return {}
        return {"loss_scale": self.scaler.scale, "skipped_steps": self.scaler.skipped_steps}

    def scaler_state(self) -> dict[str, Any]:
        """Return what the loss scaler remembers; nothing when there is none."""
        return self.scaler.state_dict() if self.scaler else {}

    def set_learning_rate(self, rate: float) -> None:
        """Have the coming steps done with this rate."""
        initial = self._settings.optimizer.learning_rate
        for group, base in zip(self.optimizer.param_groups, self._base_rates, strict=True):
            # Groups of a task's own keep their ratio.
            group["lr"] = rate if base == initial else base * (rate / initial)

    def _clip(self, limit: float) -> None:
        norm = nn.utils.get_total_norm(
            [grad for value in self._parameters if (grad := value.grad) is not None]
        )
        nn.utils.clip_grads_with_norm_(self._parameters, limit, norm)
        if self.scaler is None and not math.isfinite(value := norm.item()):
            raise DivergedError(f"the gradient's norm is {value}")
