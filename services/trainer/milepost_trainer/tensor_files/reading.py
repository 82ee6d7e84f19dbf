"""Reading safetensors files straight into tensors that are there already, every byte checked on the way."""

import ctypes
import os
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from milepost_runtime.digests import RunningDigest
from torch import Tensor

from milepost_trainer.tensor_files.block_reading import BlockReader
from milepost_trainer.tensor_files.layout import (
    LENGTH_BYTES,
    FileLayout,
    TensorFileError,
    header_length,
    parse_layout,
)
from milepost_trainer.tensor_files.measuring import Measured, Measuring
from milepost_trainer.tensor_files.pages import touched_pages

READ_BYTES = 2 * 1024 * 1024
"""Small enough that the work on a file of some megabytes goes on side by side, large enough for a disk's speed."""
BLOCKS_AHEAD = 8
"""Read and not yet copied and hashed, so that reading does not wait for either."""


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A safetensors file whose header was checked."""

    path: Path
    layout: FileLayout

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
        return cls(path, parse_layout(length, header, size_bytes))

    def read_into(self, tensors: Mapping[str, Tensor], measuring: Measuring = RunningDigest) -> Measured:
        """Fill contiguous CPU tensors of the file's names and forms; return what the whole file's bytes were.

        Raises:
            TensorFileError: the tensors are others, or the file has changed since it was opened.
            OSError: it cannot be read.
        """
        (read,) = read_files([Wanted(self, tensors, measuring)])
        if isinstance(read, Exception):
            raise read
        return read

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """Refuse tensors that are not those of the file, or cannot be filled.

        Raises:
            TensorFileError: one of them is named.
        """
        if tensors.keys() != self.layout.places.keys():
            names = ", ".join(sorted(tensors.keys() ^ self.layout.places.keys()))
            raise TensorFileError(f"{self.path.name} does not hold the tensors asked for: {names}")
        for name, place in self.layout.places.items():
            target = tensors[name]
            if target.shape != place.shape or target.dtype != place.dtype:
                raise TensorFileError(f"{self.path.name}: {name} is {place.dtype} {tuple(place.shape)}")
            if target.device.type != "cpu" or not target.is_contiguous():
                raise TensorFileError(f"{name} cannot be read into a tensor that is not contiguous in memory")


class Wanted(NamedTuple):
    """A file, where its tensors go, and how its bytes are measured on the way."""

    file: TensorFile
    tensors: Mapping[str, Tensor]
    measuring: Measuring


def read_files(wanted: Sequence[Wanted]) -> list[Measured | TensorFileError | OSError]:
    """Fill tensors from several files at the same time; return what each file's bytes were, or what is wrong.

    One thread reads, so that blocks come one after the other as disks like it, from all files in proportion to
    their sizes; another copies into the tensors, and each file has one for its digest, which takes longest.
    """
    with ExitStack() as stack:
        copier = stack.enter_context(ThreadPoolExecutor(max_workers=1, thread_name_prefix="filler"))
        streams = [_Stream(found, copier, stack) for found in wanted]
        blocks = _Blocks()
        while streams and (stream := min(streams, key=lambda found: found.share_done)).share_done < 1:
            memory = blocks.free()
            blocks.use(memory, stream.read_next(memory))
        blocks.wait()
        return [stream.result() for stream in streams]


class _Blocks:
    """Memory to read into, used again in turn; no more of it is made than reading runs ahead."""

    def __init__(self) -> None:
        self._used: deque[tuple[memoryview, list[Future[None]]]] = deque()

    def free(self) -> memoryview:
        """Return the oldest block if it is done with, else a new one, else the oldest once it is."""
        if len(self._used) < BLOCKS_AHEAD and not (self._used and _done(self._used[0][1])):
            return memoryview(touched_pages(READ_BYTES))
        memory, work = self._used.popleft()
        _wait(work)
        return memory

    def use(self, memory: memoryview, work: list[Future[None]]) -> None:
        """Remember what must be done before a block is free."""
        self._used.append((memory, work))

    def wait(self) -> None:
        """Return when everything is done."""
        for _, work in self._used:
            _wait(work)


def _done(work: list[Future[None]]) -> bool:
    return all(each.done() for each in work)


def _wait(work: list[Future[None]]) -> None:
    for each in work:
        each.result()


class _Stream:
    """One file on its way."""

    def __init__(self, wanted: Wanted, copier: ThreadPoolExecutor, stack: ExitStack) -> None:
        file, tensors = wanted.file, wanted.tensors
        self._file = file
        self._size_bytes = file.layout.size_bytes
        self._done_bytes = 0
        self._measured = wanted.measuring()
        self._error: TensorFileError | OSError | None = None
        self._copier = copier
        self._hasher = stack.enter_context(ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest"))
        try:
            file.check(tensors)
            self._places = [(place, tensors[name].data_ptr()) for name, place in file.layout.places.items()]
            self._reader = BlockReader(file.path)
            stack.callback(self._reader.close)
        except (TensorFileError, OSError) as error:
            self._error = error

    @property
    def share_done(self) -> float:
        """From 0 to 1; 1 as well when no more will be read."""
        return 1.0 if self._error else self._done_bytes / self._size_bytes

    def read_next(self, memory: memoryview) -> list[Future[None]]:
        """Read a block; return what must be done before its memory is used again."""
        start = self._done_bytes
        size_bytes = min(len(memory), self._size_bytes - start)
        try:
            read_bytes = self._reader.read(memory, start, size_bytes)
        except OSError as error:
            self._error = error
            return []
        if read_bytes < size_bytes:
            self._error = TensorFileError(f"the file ends at byte {start + read_bytes}")
            return []
        self._done_bytes += size_bytes
        block = memory[:size_bytes]
        return [
            self._hasher.submit(self._measured.update, block),  # pyright: ignore[reportArgumentType]
            self._copier.submit(self._fill, block, start),
        ]

    def result(self) -> Measured | TensorFileError | OSError:
        """Return what all bytes were, once everything was done."""
        return self._error or self._measured.result()

    def _fill(self, block: memoryview, start: int) -> None:
        """Copy a block to the tensors whose bytes it has; blocks come in order."""
        stop = start + len(block)
        address = ctypes.addressof(ctypes.c_ubyte.from_buffer(block)) - start
        while self._places:
            place, target = self._places[0]
            first, last = max(place.start, start), min(place.stop, stop)
            if first < last:
                ctypes.memmove(target + first - place.start, address + first, last - first)
            if place.stop > stop:
                return
            del self._places[0]
