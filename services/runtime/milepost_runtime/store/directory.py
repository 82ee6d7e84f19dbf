"""The artifact store in a local directory: for one machine, notebooks and tests.

Objects are files named by their keys under the root. Several processes may use one root: every object is
written under ``.incoming`` and renamed, so a reader sees it whole or not at all, and two writers of one
artifact write the same bytes. A killed writer leaves a file in ``.incoming``; ``remove_abandoned`` clears them.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from milepost_contracts.artifacts import ArtifactReference, artifact_key

from milepost_runtime.checksums import FileChecksum
from milepost_runtime.clock import Clock, SystemClock, random_id
from milepost_runtime.digests import CHUNK_BYTES, measure_file
from milepost_runtime.errors import ArtifactMissingError, StoreAccessError, StoreUnavailableError
from milepost_runtime.store import transfer
from milepost_runtime.store.durable import make_directory, replacing
from milepost_runtime.store.port import StoredObject
from milepost_runtime.store.stopping import require_wanted

INCOMING = ".incoming"


class DirectoryArtifactStore:
    """Artifacts and documents as files; passes the same conformance suite as the S3 store."""

    def __init__(self, root: Path, *, clock: Clock | None = None) -> None:
        self._root = root
        self._clock = clock or SystemClock()

    def put_file(self, path: Path, *, name: str, media_type: str) -> ArtifactReference:
        """Store a file's bytes under their digest; nothing is copied when they are there already."""
        found = measure_file(path)
        reference = ArtifactReference(
            name=name, digest=found.digest, size_bytes=found.size_bytes, media_type=media_type
        )
        if transfer.holds_young(self, reference, self._clock.now()):
            return reference
        with path.open("rb") as source:
            reader = transfer.VerifyingReader(source, reference)
            self._write(reference.key, iter(lambda: reader.read(CHUNK_BYTES), b""))
        return reference

    def get_file(self, reference: ArtifactReference, path: Path) -> FileChecksum:
        """Write the artifact's bytes to ``path``, verified; ``path`` appears only when they are right.

        Returns their checksum, which whoever reads ``path`` next can compare sooner than the digest.

        Raises:
            ArtifactMissingError: not in the store.
            ArtifactDamagedError: digest or size differ.
        """
        return transfer.receive(self._chunks(reference), reference, path)

    def verify(self, reference: ArtifactReference) -> None:
        """Read the artifact's bytes and compare digest and size.

        Raises:
            ArtifactMissingError: not in the store.
            ArtifactDamagedError: digest or size differ.
        """
        transfer.check(self._chunks(reference), reference)

    def exists(self, reference: ArtifactReference) -> bool:
        """Say whether an object of the right size is there, without reading it."""
        with _translating(reference.key):
            try:
                return self._path(reference.key).stat().st_size == reference.size_bytes
            except (FileNotFoundError, NotADirectoryError):
                return False

    def address(self, reference: ArtifactReference, *, seconds: int) -> str | None:
        """Return None: files have no addresses for others."""
        return None

    def delete_artifact(self, digest: str) -> None:
        """Remove the bytes of an artifact; it is no error when they are gone already."""
        self.delete_document(artifact_key(digest))

    def put_document(self, key: str, content: bytes, *, media_type: str = "application/json") -> None:
        """Write a small named document, whole or not at all; an existing one is replaced."""
        self._write(key, iter((content,)))

    def get_document(self, key: str) -> bytes | None:
        """Return a document's bytes, None when there is none."""
        with _translating(key):
            try:
                return self._path(key).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def delete_document(self, key: str) -> None:
        """Remove a document; it is no error when it is gone already."""
        with _translating(key):
            self._path(key).unlink(missing_ok=True)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every object whose key starts with ``prefix``; those of one folder come sorted by name."""
        with _translating(prefix):
            yield from self._walk("", prefix)

    def remove_abandoned(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove what killed writers left behind before that time; return how many files it was."""
        removed = 0
        with _translating(INCOMING):
            for leftover in (self._root / INCOMING).glob("*"):
                require_wanted()
                if _modified_at(leftover) < before:
                    if not dry_run:
                        leftover.unlink(missing_ok=True)
                    removed += 1
        return removed

    def _write(self, key: str, chunks: Iterator[bytes]) -> None:
        path = self._path(key)
        incoming = self._root / INCOMING
        with _translating(key):
            make_directory(incoming)
            make_directory(path.parent)
            with replacing(path, incoming / random_id("put")) as file:
                for chunk in chunks:
                    file.write(chunk)

    def _chunks(self, reference: ArtifactReference) -> Iterator[bytes]:
        with _translating(reference.key):
            try:
                file = self._path(reference.key).open("rb")
            except (FileNotFoundError, NotADirectoryError) as error:
                raise ArtifactMissingError(f"{reference.name}: {reference.digest}") from error
        with file:
            while True:
                with _translating(reference.key):
                    chunk = file.read(CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk

    def _walk(self, directory_key: str, prefix: str) -> Iterator[StoredObject]:
        try:
            entries = list(os.scandir(self._root / directory_key))
        except FileNotFoundError:
            return
        # A directory sorts as its keys do, with the slash: "a.json" comes before "a/b".
        keyed = sorted((directory_key + e.name + ("/" if e.is_dir() else ""), e) for e in entries)
        for key, entry in keyed:
            if key == f"{INCOMING}/":
                continue
            if key.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(key, prefix)
            elif key.startswith(prefix):
                try:
                    status = entry.stat()
                except FileNotFoundError:  # deleted since the directory was read
                    continue
                yield StoredObject(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(part in ("", ".", "..", INCOMING) or "\\" in part or "\0" in part for part in parts):
            raise ValueError(f"not a key of the artifact store: {key!r}")
        return self._root.joinpath(*parts)


def _modified_at(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:  # renamed by its writer since the directory was read
        return datetime.max.replace(tzinfo=UTC)


@contextmanager
def _translating(key: str) -> Generator[None]:
    require_wanted()
    try:
        yield
    except PermissionError as error:
        raise StoreAccessError(f"{key}: {error.strerror}") from error
    except OSError as error:
        raise StoreUnavailableError(f"{key}: {error.strerror or error}") from error
