"""Writing a file past the page cache, its digest or checksum computed in the same pass.

Buffered writes of a large file fill the page cache and are then written back in bursts that slow everything
down (0.36 against 2.1 GB/s with fsync on the machine this was measured on). Where the file system or
the system knows no direct writes the same code writes through the cache.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from milepost_runtime.digests import RunningDigest
from torch import Tensor

from milepost_trainer.tensor_files.layout import forms_of, layout_of
from milepost_trainer.tensor_files.measuring import Measured, Measuring
from milepost_trainer.tensor_files.pages import BLOCK_BYTES, PAGE_BYTES, touched_pages

if sys.platform == "linux":
    import fcntl

DIRECT_BYTES_MIN = 1024 * 1024
"""Smaller files are written through the cache: nothing is gained otherwise."""

Pace = Callable[[int], None]
"""Called before so many bytes are written; may wait."""


def at_full_speed(size_bytes: int) -> None:
    """Do not wait."""


def write_blocks(
    path: Path,
    blocks: Iterable[memoryview],
    size_bytes: int,
    pace: Pace = at_full_speed,
    measuring: Measuring = RunningDigest,
) -> Measured:
    """Write a new file of whole blocks, the last one may be shorter; it is durable when the caller has fsynced it.

    Each block begins at a page of memory. A block may be reused when the one after the next is asked for.

    Raises:
        OSError: the disk refuses.
    """
    running = measuring()
    with _Descriptor(path, direct=size_bytes >= DIRECT_BYTES_MIN) as file, _hasher() as hasher:
        hashing: Future[None] | None = None
        offset = 0
        for block in blocks:
            pace(len(block))
            before, hashing = hashing, hasher.submit(running.update, block)  # pyright: ignore[reportArgumentType]
            file.write(block, offset)
            offset += len(block)
            if before is not None:
                before.result()
        if hashing is not None:
            hashing.result()
        if offset != size_bytes:
            raise ValueError(f"{path.name}: {offset} bytes came, not {size_bytes}")
        file.finish(size_bytes)
    return running.result()


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    pace: Pace = at_full_speed,
    measuring: Measuring = RunningDigest,
) -> Measured:
    """Write tensors, from whatever device, that nobody changes meanwhile; the same ones give the same bytes.

    Raises:
        OSError: the disk refuses.
    """
    layout = layout_of(forms_of(tensors))
    pieces = _pieces(layout.head, (tensors[name] for name in layout.places))
    return write_blocks(path, _gathered(pieces, layout.size_bytes), layout.size_bytes, pace, measuring)


def _hasher() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest")


def _pieces(head: bytes, tensors: Iterable[Tensor]) -> Iterator[tuple[int, int, object]]:
    """Yield address and length of the file's bytes; the third keeps them alive."""
    buffer = ctypes.create_string_buffer(head, len(head))
    yield ctypes.addressof(buffer), len(head), buffer
    for tensor in tensors:
        plain = tensor.detach().cpu().contiguous()
        yield plain.data_ptr(), plain.nbytes, plain


def _gathered(pieces: Iterable[tuple[int, int, object]], size_bytes: int) -> Iterator[memoryview]:
    """Fill blocks with the pieces; three take turns: one is being written, one hashed, one filled."""
    block_bytes = min(BLOCK_BYTES, size_bytes)
    memories = [touched_pages(block_bytes) for _ in range(min(3, -(-size_bytes // BLOCK_BYTES)))]
    addresses = [ctypes.addressof(ctypes.c_char.from_buffer(memory)) for memory in memories]
    turn, filled = 0, 0
    for address, length, _alive in pieces:
        done = 0
        while done < length:
            part = min(length - done, block_bytes - filled)
            ctypes.memmove(addresses[turn] + filled, address + done, part)
            done, filled = done + part, filled + part
            if filled == block_bytes:
                yield memoryview(memories[turn])[:filled]
                turn, filled = (turn + 1) % len(memories), 0
    if filled:
        yield memoryview(memories[turn])[:filled]


class _Descriptor:
    """An open file; direct until the system says that it cannot."""

    def __init__(self, path: Path, *, direct: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        self._direct = getattr(os, "O_DIRECT", 0) if direct and sys.platform == "linux" else 0
        try:
            self._descriptor = os.open(path, flags | self._direct, 0o666)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._direct:
                raise
            self._direct = 0
            path.unlink(missing_ok=True)  # some systems create it before they refuse
            self._descriptor = os.open(path, flags, 0o666)

    def __enter__(self) -> "_Descriptor":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def write(self, block: memoryview, offset: int) -> None:
        """Write a block, its last page filled up when that is needed."""
        whole = len(block) // PAGE_BYTES * PAGE_BYTES if self._direct else len(block)
        self._write_all(block[:whole], offset)
        if whole < len(block):
            page = touched_pages(PAGE_BYTES)
            page[: len(block) - whole] = bytes(block[whole:])
            self._write_all(memoryview(page), offset + whole)

    def finish(self, size_bytes: int) -> None:
        """Cut what filled the last page."""
        os.ftruncate(self._descriptor, size_bytes)

    def _write_all(self, block: memoryview, offset: int) -> None:
        done = 0
        while done < len(block):
            try:
                written = os.pwrite(self._descriptor, block[done:], offset + done)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._direct:
                    raise
                written = 0
            done += written
            if done < len(block) and self._direct:
                self._go_on_buffered()

    def _go_on_buffered(self) -> None:
        """Write the rest through the cache: a short write leaves an offset that is not at a page."""
        self._direct = 0
        if sys.platform == "linux":
            flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
