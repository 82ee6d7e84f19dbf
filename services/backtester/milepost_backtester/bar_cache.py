"""Bars that were loaded before, as columns to map into memory: their Parquet is decoded and checked only once.

States of an entry: absent -> being written (a hidden name) -> whole (renamed) -> evicted, or damaged and removed.
Authority: the input itself, which the host has verified; an entry is only ever a copy and may vanish at any time.
Failures: an entry that is not byte for byte what was written, or was written by another version, is passed over
and made anew; a disk that refuses leaves the bars uncached. Why: ``docs/adr/0017-bars-are-mapped-and-checked.md``.

Layout: a page with canonical JSON (digest of the input, number of bars, checksum of what follows) and zeros, then
the six columns one after the other, 8 bytes little-endian for each value.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from milepost_contracts.model import JsonObject
from milepost_runtime.checksums import RunningChecksum
from milepost_runtime.clock import random_id
from milepost_runtime.digests import canonical_json
from milepost_runtime.worker.kind import JobContext

from milepost_backtester.bar_table import COLUMNS
from milepost_backtester.engine.bars import Bars
from milepost_backtester.market_data import load_bars

FORMAT = 1
"""Raised with every change of the layout, and of what ``load_bars`` refuses: old entries are then passed over."""
HEADER_BYTES = 4096
VALUE_BYTES = 8
BAR_BYTES = VALUE_BYTES * len(COLUMNS)
CACHE_BYTES_MAX = 4 * 1024**3
"""About 90 million bars."""
BYTES_VARIABLE = "MILEPOST_BAR_CACHE_BYTES"


def cache_bytes_of(environment: Mapping[str, str]) -> int:
    """Return how much of the disk cached bars may take; 0: nothing is cached.

    Raises:
        ValueError: the setting is no number from 0.
    """
    text = environment.get(BYTES_VARIABLE, "")
    if not text:
        return CACHE_BYTES_MAX
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(
            f"{BYTES_VARIABLE} must be a whole number of bytes, 0 for no cache, not {text!r};"
            f" 4 GiB are {CACHE_BYTES_MAX}"
        )
    return int(text)


class BarCache:
    """A directory of entries, the least recently used of which give way; several processes may use it."""

    def __init__(self, directory: Path, *, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._directory = directory
        self._bytes_max = bytes_max

    @classmethod
    def of(cls, context: JobContext, *, bytes_max: int = CACHE_BYTES_MAX) -> Self | None:
        """Return the worker's cache; None where it keeps nothing between operations, or may take nothing."""
        if context.cache_directory is None or not bytes_max:
            return None
        return cls(context.cache_directory / "bars", bytes_max=bytes_max)

    def load(self, path: Path, digest: str) -> Bars:
        """Return the bars of the canonical file ``path``, whose bytes have this digest.

        The arrays may be written to; what is written stays in this process.

        Raises:
            BarProblemsError: the file is not canonical, or has faults.
        """
        entry = self._directory / f"{digest.removeprefix('sha256:')}.bars"
        bars = self._read(entry, digest)
        if bars is None:
            bars = load_bars(path)
            try:
                self._write(entry, digest, bars)
            except OSError as error:
                _warn("bars are not cached", reason=str(error))
        return bars

    def _read(self, entry: Path, digest: str) -> Bars | None:
        try:
            content: Any = np.asarray(np.memmap(entry, np.uint8, mode="c"))
        except (OSError, ValueError):  # not there, or empty
            return None
        count, rest = divmod(len(content) - HEADER_BYTES, BAR_BYTES)
        columns = content[HEADER_BYTES:]
        checksum = RunningChecksum()
        checksum.update(memoryview(columns))
        whole = rest == 0 <= count and content[:HEADER_BYTES].tobytes() == _header(digest, count, checksum)
        if not whole:
            _warn("cached bars are damaged or of another version", entry=entry.name)
            entry.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(entry)  # it was of use: others are evicted first
        times, *prices = np.split(columns, len(COLUMNS))
        return Bars(times.view(np.int64), *(column.view(np.float64) for column in prices))

    def _write(self, entry: Path, digest: str, bars: Bars) -> None:
        if sys.byteorder != "little":
            return
        size_bytes = HEADER_BYTES + len(bars) * BAR_BYTES
        if size_bytes > self._bytes_max:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        self._evict(self._bytes_max - size_bytes)
        temporary = entry.with_name(f".{random_id(entry.stem)}")
        try:
            # Nothing is fsynced: what a power cut leaves is not what the checksum says.
            with temporary.open("xb") as file:
                checksum = RunningChecksum()
                file.seek(HEADER_BYTES)
                for column in _columns(bars):
                    checksum.update(column)
                    file.write(column)
                file.seek(0)
                file.write(_header(digest, len(bars), checksum))
            temporary.replace(entry)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _evict(self, bytes_max: int) -> None:
        """Remove entries, the least recently used first, until the others take no more than so many bytes."""
        found: list[tuple[float, int, Path]] = []
        for path in self._directory.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        kept_bytes = sum(size for _, size, _ in found)
        for _, size_bytes, path in sorted(found):
            if kept_bytes <= bytes_max:
                return
            path.unlink(missing_ok=True)  # whoever has it mapped keeps it
            kept_bytes -= size_bytes


def _warn(event: str, **fields: str) -> None:
    import structlog  # noqa: PLC0415 - a tenth of a second that most processes never need

    structlog.get_logger().warning(event, **fields)


def _columns(bars: Bars) -> Iterator[memoryview]:
    for name in COLUMNS:
        yield np.ascontiguousarray(getattr(bars, name)).data.cast("B")


def _header(digest: str, count: int, checksum: RunningChecksum) -> bytes:
    words: JsonObject = {
        "format": FORMAT,
        "input": digest,
        "bars": count,
        "checksum": checksum.result().checksum,
    }
    return canonical_json(words).ljust(HEADER_BYTES, b"\0")
