"""How the bytes of a file are measured while it is written or read."""

from typing import TypeAlias

from milepost_runtime.checksums import FileChecksum, RunningChecksum
from milepost_runtime.digests import FileDigest, RunningDigest

Measured: TypeAlias = FileDigest | FileChecksum
Measuring: TypeAlias = type[RunningDigest] | type[RunningChecksum]
"""SHA-256 takes longer than a fast disk, the checksum a tenth of that."""
