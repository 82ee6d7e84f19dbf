"""Checksums of files on a local disk: taken as a file is written, compared by who reads it next.

That is the host, which publishes what a child has spooled, and a child, which goes on from what the host has
fetched. What they must know is only whether the bytes are still those that were written. XXH3 with 128 bits
(https://github.com/Cyan4973/xxHash, "Collision ratio comparison") says that at the speed of memory, where SHA-256
takes longer than the disk. It is no proof against an attacker; the digest that names an artifact is one, and the
host computes it in the pass that publishes or fetches. See ``docs/adr/0012-checksums-in-the-spool.md``.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import xxhash
from pydantic import StringConstraints

from milepost_runtime.digests import CHUNK_BYTES, FileDigest, RunningDigest

Proof: TypeAlias = Annotated[str, StringConstraints(pattern=r"^(sha256:[0-9a-f]{64}|xxh3:[0-9a-f]{32})$")]
"""What a spooled file is compared with: its digest when its writer knew it, else its checksum."""


_PREFIX = "xxh3:"


@dataclass(frozen=True, slots=True)
class FileChecksum:
    """What the bytes of a file are, as far as damage is concerned."""

    checksum: str
    """``xxh3:`` and 32 hexadecimal digits."""
    size_bytes: int


class RunningChecksum:
    """Checksum and size of bytes that come piece by piece."""

    def __init__(self) -> None:
        self._hash = xxhash.xxh3_128()
        self._size_bytes = 0

    def update(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes in; other threads go on meanwhile."""
        self._hash.update(chunk)
        self._size_bytes += len(chunk)

    def result(self) -> FileChecksum:
        """Return checksum and size of everything so far."""
        return FileChecksum(f"{_PREFIX}{self._hash.hexdigest()}", self._size_bytes)


def proof_of(measured: FileDigest | FileChecksum) -> Proof:
    """Return what a file is to be compared with."""
    return measured.digest if isinstance(measured, FileDigest) else measured.checksum


def measure_checksum(path: Path) -> FileChecksum:
    """Return the checksum of a file that was just written: its bytes are in the page cache.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        checksum = hashlib.file_digest(file, xxhash.xxh3_128)
        return FileChecksum(f"{_PREFIX}{checksum.hexdigest()}", file.tell())


def measure_both(path: Path) -> tuple[FileDigest, FileChecksum]:
    """Return digest and checksum of a file, read once in chunks of 1 MiB.

    Raises:
        OSError: the file cannot be read.
    """
    digest, checksum = RunningDigest(), RunningChecksum()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            checksum.update(chunk)
    return digest.result(), checksum.result()
