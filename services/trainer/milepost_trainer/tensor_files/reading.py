"""Reading safetensors files straight into tensors that are there already, every byte checked on the way."""

import ctypes
import os
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
from milepost_trainer.tensor_files.pages import populate, touched_pages

READ_BYTES = 4 * 1024 * 1024
BLOCKS_AHEAD = 8
"""Read and not yet copied and hashed, so that reading does not wait for either."""
LARGE_BYTES_MIN = 1024 * 1024
"""Memory of this size is likely to have no pages yet."""


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
        memories = [memoryview(touched_pages(READ_BYTES)) for _ in range(BLOCKS_AHEAD)]
        busy: list[list[Future[None]]] = [[] for _ in memories]
        streams = [_Stream(found, copier, stack) for found in wanted]
        turn = 0
        while streams and (stream := min(streams, key=lambda found: found.share_done)).share_done < 1:
            for done in busy[turn]:
                done.result()
            busy[turn] = stream.read_next(memories[turn])
            turn = (turn + 1) % len(memories)
        for done in (done for every in busy for done in every):
            done.result()
        return [stream.result() for stream in streams]


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
            if first == place.start and place.stop - place.start >= LARGE_BYTES_MIN:
                populate(target, place.stop - place.start)
            if first < last:
                ctypes.memmove(target + first - place.start, address + first, last - first)
            if place.stop > stop:
                return
            del self._places[0]
