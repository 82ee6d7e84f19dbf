"""A tensor arena: memory laid out exactly as one safetensors file.

Copying a tensor into its place is all the work of saving it: the memory is then written as it is.
"""

import ctypes
import mmap
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from milepost_trainer.tensor_files.frontier import Frontier
from milepost_trainer.tensor_files.layout import FileLayout, Form, layout_of
from milepost_trainer.tensor_files.pages import BLOCK_BYTES, touched_pages

MEMMOVE_BYTES_MIN = 128 * 1024
"""From this size on a plain memory copy, which uses no thread of torch and stores past the caches."""


class TensorArena:
    """Reused for every state of the same form; another form gets other places, and memory only if it needs more.

    One thread at a time fills it, the owner decides which; ``frontier`` tells others how far it is.
    """

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None
        self._layout: FileLayout | None = None
        self._forms: Mapping[str, Form] = {}
        self._tensors: dict[str, Tensor] = {}
        self.frontier = Frontier()

    @property
    def size_bytes(self) -> int:
        """How long the file is; 0 before anything was prepared."""
        return 0 if self._layout is None else self._layout.size_bytes

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Views of the memory, by name; what they show changes with the next ``copy_in``."""
        return self._tensors

    def blocks(self) -> Iterator[tuple[int, memoryview]]:
        """Yield the bytes of the file, with where they begin: blocks that lie at a page of memory and of the file.

        ``frontier`` says which of them are right already.
        """
        if self._memory is None or self._layout is None:
            raise RuntimeError("nothing was copied in yet")
        content = memoryview(self._memory)[: self._layout.size_bytes].toreadonly()
        for start in range(0, len(content), BLOCK_BYTES):
            yield start, content[start : start + BLOCK_BYTES]

    def fits(self, forms: Mapping[str, Form]) -> bool:
        """Say whether ``prepare`` has made place for tensors of these forms."""
        # The same object in most cases, which spares looking at every tensor.
        return self._layout is not None and (self._forms is forms or self._forms == forms)

    def prepare(self, forms: Mapping[str, Form]) -> None:
        """Make place for tensors of these forms; nothing happens when it is there already."""
        if self.fits(forms):
            self._forms = forms  # the same object from now on
            return
        layout = layout_of(forms)
        self._layout, self._tensors = None, {}
        if self._memory is None or len(self._memory) < layout.size_bytes:
            self._memory = None  # never both at once
            self._memory = touched_pages(layout.size_bytes)
        self._memory[: layout.data_start] = layout.head
        self._tensors = _views(self._memory, layout)
        self._layout, self._forms = layout, forms

    def copy_in(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy tensors of the prepared forms, from whatever device; the interpreter is free meanwhile."""
        small: tuple[list[Tensor], list[Tensor]] = ([], [])
        large: list[tuple[int, Tensor, Tensor]] = []
        layout = self._prepared_layout()
        for name, place in layout.places.items():
            source, target = tensors[name].detach(), self._tensors[name]
            if _is_large(source, target):
                large.append((place.start, source, target))
            else:
                small[0].append(target)
                small[1].append(source)
        _foreach_copy(*small)  # first, so that everything before a large one is right once that is
        for start, source, target in large:
            self._copy_large(start, source, target)
        self.frontier.advance(layout.size_bytes)

    def _copy_large(self, start: int, source: Tensor, target: Tensor) -> None:
        for done in range(0, target.nbytes, BLOCK_BYTES):
            part_bytes = min(BLOCK_BYTES, target.nbytes - done)
            self.frontier.advance(start + done)
            ctypes.memmove(target.data_ptr() + done, source.data_ptr() + done, part_bytes)

    def _prepared_layout(self) -> FileLayout:
        if self._layout is None:
            raise RuntimeError("there is no place to copy to")
        return self._layout


def _is_large(source: Tensor, target: Tensor) -> bool:
    return (
        target.nbytes >= MEMMOVE_BYTES_MIN
        and source.device.type == "cpu"
        and source.is_contiguous()
        and source.dtype == target.dtype
    )


def _foreach_copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    if not targets:
        return
    with torch.no_grad():
        torch._foreach_copy_(targets, sources)  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]


def _views(memory: mmap.mmap, layout: FileLayout) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, place in layout.places.items():
        if place.start == place.stop:
            found[name] = torch.empty(place.shape, dtype=place.dtype)
            continue
        flat = torch.frombuffer(
            memory,
            dtype=place.dtype,
            offset=place.start,
            count=(place.stop - place.start) // place.dtype.itemsize,
        )
        found[name] = flat.view(place.shape)
    return found
