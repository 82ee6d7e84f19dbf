"""Reading safetensors files straight into tensors that are there already, every byte checked on the way."""

import ctypes
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from milepost_runtime.digests import FileDigest, RunningDigest
from torch import Tensor

from milepost_trainer.tensor_files.layout import (
    LENGTH_BYTES,
    FileLayout,
    TensorFileError,
    header_length,
    parse_layout,
)
from milepost_trainer.tensor_files.pages import BLOCK_BYTES

VECTORS_MAX = 512
"""Tensors filled by one call; systems allow 1 024."""


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A safetensors file whose header was checked."""

    path: Path
    layout: FileLayout
    head: bytes

    @classmethod
    def open(cls, path: Path) -> "TensorFile":
        """Read and check the header.

        Raises:
            TensorFileError: it is no whole safetensors file.
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            length = file.read(LENGTH_BYTES)
            header = file.read(header_length(length, size_bytes))
        return cls(path, parse_layout(length, header, size_bytes), length + header)

    def read_into(self, tensors: Mapping[str, Tensor]) -> FileDigest:
        """Fill contiguous CPU tensors of the file's names and forms; return what the whole file's bytes were.

        Raises:
            TensorFileError: the tensors are others, or the file has changed since it was opened.
            OSError: it cannot be read.
        """
        self._check(tensors)
        targets = [_bytes_of(tensors[name]) for name in self.layout.places if tensors[name].nbytes]
        digest = RunningDigest()
        descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            with ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest") as hasher:
                digest.update(self.head)
                read = _read(descriptor, targets, self.layout.data_start)
                hashing = [hasher.submit(_update, digest, group) for group in read]
        finally:
            os.close(descriptor)
        for done in hashing:
            done.result()
        return digest.result()

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        if tensors.keys() != self.layout.places.keys():
            names = ", ".join(sorted(tensors.keys() ^ self.layout.places.keys()))
            raise TensorFileError(f"{self.path.name} does not hold the tensors asked for: {names}")
        for name, place in self.layout.places.items():
            target = tensors[name]
            if target.shape != place.shape or target.dtype != place.dtype:
                raise TensorFileError(f"{self.path.name}: {name} is {place.dtype} {tuple(place.shape)}")
            if target.device.type != "cpu" or not target.is_contiguous():
                raise TensorFileError(f"{name} cannot be read into a tensor that is not contiguous in memory")


def _bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a tensor, which must outlive this."""
    return memoryview((ctypes.c_ubyte * tensor.nbytes).from_address(tensor.data_ptr())).cast("B")


def _groups(targets: Iterable[memoryview]) -> Iterator[list[memoryview]]:
    """Cut into groups of about one block, in order."""
    group: list[memoryview] = []
    group_bytes = 0
    for target in targets:
        for start in range(0, len(target), BLOCK_BYTES):
            piece = target[start : start + BLOCK_BYTES]
            if group and (group_bytes + len(piece) > BLOCK_BYTES or len(group) == VECTORS_MAX):
                yield group
                group, group_bytes = [], 0
            group.append(piece)
            group_bytes += len(piece)
    if group:
        yield group


def _read(descriptor: int, targets: Sequence[memoryview], offset: int) -> Iterator[list[memoryview]]:
    """Fill the targets from ``offset`` on, and give each group when it is full."""
    for group in _groups(targets):
        rest = group
        while rest:
            count = os.preadv(descriptor, rest, offset)
            if count == 0:
                raise TensorFileError(f"the file ends at byte {offset}")
            offset += count
            rest = _after(rest, count)
        yield group


def _after(group: Sequence[memoryview], count: int) -> list[memoryview]:
    """What of a group is not filled yet after so many bytes."""
    for index, target in enumerate(group):
        if count < len(target):
            return [target[count:], *group[index + 1 :]]
        count -= len(target)
    return []


def _update(digest: RunningDigest, group: Iterable[memoryview]) -> None:
    for piece in group:
        digest.update(piece)  # pyright: ignore[reportArgumentType]
