"""The artifact store as its users see it: a port, with one conformance suite for every adapter."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from milepost_contracts.artifacts import ArtifactReference

from milepost_runtime.checksums import FileChecksum

RENEWED_AFTER = timedelta(minutes=20)
"""Far less than the shortest grace of a sweep."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a listing shows it."""

    key: str
    size_bytes: int
    modified_at: datetime


class ArtifactStore(Protocol):
    """Immutable artifacts by digest, and a few small named documents.

    Blocking: where an event loop runs, read in ``asyncio.to_thread`` and write in ``stopping.in_thread``, whose
    thread ends with whoever waits for it: no request is begun, and no part of a large one, once they are gone.
    Every method raises ``StoreUnavailableError`` when the store does not answer and ``StoreAccessError``
    when it refuses.
    """

    def put_file(self, path: Path, *, name: str, media_type: str) -> ArtifactReference:
        """Store a file's bytes under their digest; nothing is sent when they are there already.

        Bytes that have lain there for ``RENEWED_AFTER`` are sent again: a sweep of orphans goes by an object's
        age, and whoever puts it is about to refer to it.

        "There" is found out by reading: a damaged object would otherwise stand in the way of every later
        checkpoint with the same bytes, and a run that is computed again makes exactly the same bytes.
        """
        ...

    def get_file(self, reference: ArtifactReference, path: Path) -> FileChecksum:
        """Write the artifact's bytes to ``path``, verified; ``path`` appears only when they are right.

        Returns their checksum, which whoever reads ``path`` next can compare sooner than the digest.

        Raises:
            ArtifactMissingError: not in the store.
            ArtifactDamagedError: digest or size differ.
        """
        ...

    def verify(self, reference: ArtifactReference) -> None:
        """Read the artifact's bytes and compare digest and size.

        Raises:
            ArtifactMissingError, ArtifactDamagedError: as for ``get_file``.
        """
        ...

    def exists(self, reference: ArtifactReference) -> bool:
        """Say whether an object of the right size is there, without reading it."""
        ...

    def address(self, reference: ArtifactReference, *, seconds: int) -> str | None:
        """Return a URL that anyone can read the artifact's bytes at for so long, under its name.

        None where the store has no addresses of its own; ``get_file`` then. Nothing is asked of the server.
        """
        ...

    def delete_artifact(self, digest: str) -> None:
        """Remove the bytes of an artifact; it is no error when they are gone already."""
        ...

    def put_document(self, key: str, content: bytes, *, media_type: str = "application/json") -> None:
        """Write a small named document, whole or not at all; an existing one is replaced."""
        ...

    def get_document(self, key: str) -> bytes | None:
        """Return a document's bytes, None when there is none."""
        ...

    def delete_document(self, key: str) -> None:
        """Remove a document; it is no error when it is gone already."""
        ...

    def remove_abandoned(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove what uploads that broke off before that time left behind; return how many it was."""
        ...

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every object whose key starts with ``prefix``; those of one folder come sorted by name.

        Over several folders the order is the server's own: not all S3 servers sort whole keys.
        """
        ...
