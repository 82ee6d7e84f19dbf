"""What this machine allows at best for so many bytes, measured like the contenders.

Copying in memory, writing and reading one file through the page cache and around it (O_DIRECT), and SHA-256.
"""

import hashlib
import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from milepost_runtime.store.durable import fsync_directory

BLOCK_BYTES = 8 * 1024 * 1024
PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds for the same bytes; None where the file system has no O_DIRECT."""

    copy: float
    copy_fresh: float
    """Into memory that was never touched."""
    write_buffered: float
    """With fsync of the file and of the directory."""
    write_direct: float | None
    read_cold: float
    read_direct: float | None
    read_warm: float
    digest: float
    """SHA-256 of bytes in memory."""

    @property
    def write(self) -> float:
        """The faster way to durable bytes."""
        return min(self.write_buffered, self.write_direct or self.write_buffered)

    @property
    def read(self) -> float:
        """The faster way to bytes that are not in memory."""
        return min(self.read_cold, self.read_direct or self.read_cold)


def measure_limits(size_bytes: int, directory: Path) -> Limits:
    """Measure each once."""
    whole_bytes = -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
    path = directory / "limit"
    with _mapped(whole_bytes) as source, _mapped(whole_bytes) as target:
        torch.frombuffer(source, dtype=torch.uint8).random_()
        fresh_seconds = _seconds(lambda: _copy(source, target))
        copy_seconds = _seconds(lambda: _copy(source, target))
        buffered_seconds = _seconds(lambda: _write(path, source, 0))
        forget(path)
        cold_seconds = _seconds(lambda: _read(path, target, 0))
        warm_seconds = _seconds(lambda: _read(path, target, 0))
        path.unlink()
        direct_write = direct_read = None
        if _has_direct(directory):
            direct_write = _seconds(lambda: _write(path, source, os.O_DIRECT))
            forget(path)
            direct_read = _seconds(lambda: _read(path, target, os.O_DIRECT))
            path.unlink()
        digest_seconds = _seconds(lambda: hashlib.sha256(source).digest())
    return Limits(
        copy=copy_seconds,
        copy_fresh=fresh_seconds,
        write_buffered=buffered_seconds,
        write_direct=direct_write,
        read_cold=cold_seconds,
        read_direct=direct_read,
        read_warm=warm_seconds,
        digest=digest_seconds,
    )


def forget(path: Path) -> None:
    """Take a file, or all files of a directory, out of the page cache."""
    for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)  # dirty pages stay in the cache whatever is advised
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _write(path: Path, source: mmap.mmap, flags: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | flags)
    try:
        with memoryview(source) as view:
            for offset in range(0, len(view), BLOCK_BYTES):
                os.pwrite(descriptor, view[offset : offset + BLOCK_BYTES], offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fsync_directory(path.parent)


def _read(path: Path, target: mmap.mmap, flags: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        with memoryview(target) as view:
            for offset in range(0, len(view), BLOCK_BYTES):
                os.preadv(descriptor, [view[offset : offset + BLOCK_BYTES]], offset)
    finally:
        os.close(descriptor)


def _copy(source: mmap.mmap, target: mmap.mmap) -> None:
    torch.frombuffer(target, dtype=torch.uint8).copy_(torch.frombuffer(source, dtype=torch.uint8))


@contextmanager
def _mapped(size_bytes: int) -> Iterator[mmap.mmap]:
    """Page-aligned memory, as O_DIRECT needs it."""
    memory = mmap.mmap(-1, size_bytes)
    try:
        yield memory
    finally:
        memory.close()


def _has_direct(directory: Path) -> bool:
    probe = directory / "probe"
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
