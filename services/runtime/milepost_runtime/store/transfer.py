"""Moving an artifact's bytes with its digest checked on the way, the same for every store."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from milepost_contracts.artifacts import ArtifactReference

from milepost_runtime.checksums import FileChecksum, RunningChecksum
from milepost_runtime.digests import FileDigest, RunningDigest
from milepost_runtime.errors import ArtifactDamagedError, ArtifactMissingError
from milepost_runtime.store.durable import replacing
from milepost_runtime.store.port import RENEWED_AFTER, ArtifactStore
from milepost_runtime.store.stopping import require_wanted


def receive(chunks: Iterable[bytes], reference: ArtifactReference, path: Path) -> FileChecksum:
    """Write ``chunks`` to ``path``, which appears only when they are the artifact's bytes; return their checksum.

    Raises:
        ArtifactDamagedError: digest or size differ.
    """
    with replacing(path) as file:
        running, checksum = RunningDigest(), RunningChecksum()
        for chunk in chunks:
            running.update(chunk)
            _refuse_too_long(running, reference)
            checksum.update(chunk)
            file.write(chunk)
        compare(running.result(), reference)
    return checksum.result()


def holds(store: ArtifactStore, reference: ArtifactReference) -> bool:
    """Say whether the store has the artifact, every byte right."""
    if not store.exists(reference):
        return False
    try:
        store.verify(reference)
    except (ArtifactMissingError, ArtifactDamagedError):
        return False
    return True


def holds_young(store: ArtifactStore, reference: ArtifactReference, now: datetime) -> bool:
    """Say whether the store has the artifact, every byte right, and no sweep can take it for an orphan soon."""
    if not holds(store, reference):
        return False
    found = [each for each in store.list_objects(reference.key) if each.key == reference.key]
    return bool(found) and now - found[0].modified_at < RENEWED_AFTER


def check(chunks: Iterable[bytes], reference: ArtifactReference) -> None:
    """Read ``chunks`` and compare them with the reference.

    Raises:
        ArtifactDamagedError: digest or size differ.
    """
    running = RunningDigest()
    for chunk in chunks:
        running.update(chunk)
        _refuse_too_long(running, reference)
    compare(running.result(), reference)


def compare(found: FileDigest, reference: ArtifactReference) -> None:
    """Refuse bytes that are not the artifact's.

    Raises:
        ArtifactDamagedError: digest or size differ.
    """
    if found.size_bytes != reference.size_bytes:
        raise ArtifactDamagedError(
            f"{reference.name}: {found.size_bytes} bytes instead of {reference.size_bytes}"
        )
    if found.digest != reference.digest:
        raise ArtifactDamagedError(f"{reference.name}: the bytes are {found.digest}, not {reference.digest}")


class VerifyingReader:
    """A local file on its way out: reading fails at its end when it is not what was announced.

    A file that changes between its hashing and its upload so never arrives under the wrong name: the last
    read comes before the request that makes the object appear.
    """

    def __init__(self, file: BinaryIO, reference: ArtifactReference) -> None:
        self._file = file
        self._reference = reference
        self._running = RunningDigest()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes.

        Raises:
            ArtifactDamagedError: the file has changed.
            StoreStoppedError: nobody waits for it to arrive.
        """
        require_wanted()
        chunk = self._file.read(size)
        self._running.update(chunk)
        if self._running.size_bytes >= self._reference.size_bytes or (not chunk and size != 0):
            compare(self._running.result(), self._reference)
        return chunk


def _refuse_too_long(running: RunningDigest, reference: ArtifactReference) -> None:
    if running.size_bytes > reference.size_bytes:
        raise ArtifactDamagedError(f"{reference.name}: longer than its {reference.size_bytes} bytes")
