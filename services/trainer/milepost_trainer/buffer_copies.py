"""Copies of many small tensors, made at once, as plain bytes into memory that is used again."""

import ctypes
from collections.abc import Mapping

import torch
from torch import Tensor


class BufferCopies:
    """Of one set of tensors after the other; each copy takes the place of the one before."""

    def __init__(self) -> None:
        self._tensors: Mapping[str, Tensor] = {}
        self._copies: dict[str, Tensor] = {}
        self._plain: list[tuple[memoryview, memoryview]] = []
        self._others: list[tuple[Tensor, Tensor]] = []

    def of(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return copies; the same object is taken to hold the same tensors, in the same memory."""
        if tensors is not self._tensors:
            self._prepare(tensors)
        for target, source in self._plain:
            target[:] = source
        for target, source in self._others:
            target.copy_(source)
        return self._copies

    def _prepare(self, tensors: Mapping[str, Tensor]) -> None:
        sources = {name: value.detach() for name, value in tensors.items()}
        copies = {name: torch.empty_like(value) for name, value in sources.items()}
        self._tensors, self._copies, self._plain, self._others = tensors, copies, [], []
        for name, source in sources.items():
            if source.device.type == "cpu" and source.is_contiguous() and source.nbytes:
                self._plain.append((_bytes_of(copies[name]), _bytes_of(source)))
            else:
                self._others.append((copies[name], source))


def _bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor, which must outlive this."""
    return memoryview((ctypes.c_ubyte * tensor.nbytes).from_address(tensor.data_ptr())).cast("B")
