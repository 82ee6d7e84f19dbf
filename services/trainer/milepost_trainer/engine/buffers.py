"""A model's buffers by name, looked up only when the model's modules or buffers are others than before."""

from collections.abc import Iterator
from itertools import chain
from operator import is_
from typing import Any

from torch import Tensor, nn

from milepost_trainer.engine.errors import TrainingError


class Buffers:
    """What ``named_buffers`` gives, at a fraction of its cost while nothing but values changes.

    Modules keep buffers and children in dictionaries, whose content is looked at every time, as is where buffers
    have their memory. That these are the same dictionaries, and the shapes the same, is for ``check`` to say.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._look()

    def by_name(self) -> dict[str, Tensor]:
        """Return the live buffers: the same object as long as they are the same, in the same memory."""
        if (
            list(map(len, self._dictionaries)) != self._counts
            or not all(map(is_, self._content(), self._seen))
            or list(map(Tensor.data_ptr, self._found.values())) != self._addresses
        ):
            self._look()
        return self._found

    def check(self) -> None:
        """Make sure of what ``by_name`` rests on; any thread may call it.

        Raises:
            TrainingError: a module has other dictionaries than before, or a buffer another shape in its memory.
        """
        for (name, value), form in zip(self._found.items(), self._forms, strict=True):
            if (value.shape, value.stride()) != form:
                raise TrainingError(
                    f"the buffer {name} took another shape in place; assign a new tensor instead"
                )
        for module, buffers, children in self._owners:
            if not all(map(is_, (buffers, children), _kept_by(module))):
                raise TrainingError(f"{type(module).__name__} exchanged its dictionary of buffers or modules")

    def _look(self) -> None:
        self._owners = [(module, *_kept_by(module)) for module in self._model.modules()]
        self._dictionaries = [kept for _, *both in self._owners for kept in both]
        self._counts = list(map(len, self._dictionaries))
        self._filled = [kept for kept in self._dictionaries if kept]
        self._seen = list(self._content())
        self._found = dict(self._model.named_buffers())
        self._addresses = list(map(Tensor.data_ptr, self._found.values()))
        self._forms = [(value.shape, value.stride()) for value in self._found.values()]

    def _content(self) -> Iterator[object]:
        """Names and values; there are as many as before when the counts are the same."""
        return chain.from_iterable([chain(kept, kept.values()) for kept in self._filled])


def _kept_by(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    return module._buffers, module._modules  # pyright: ignore[reportPrivateUsage]
