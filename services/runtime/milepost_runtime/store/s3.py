"""The artifact store on an S3 server: MinIO, SeaweedFS, Ceph or a cloud's, through the ``minio`` client.

Failures: every call is bounded (5 s to connect, 30 s for each read, two retries of what may be repeated) and
then raises; waiting out a long outage is the caller's part. An upload that breaks off leaves no object: a single
part is one request, and the parts of a large file become an object only by the completing request.
"""

import io
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import certifi
from milepost_contracts.artifacts import ArtifactReference, artifact_key
from minio import Minio
from minio.error import S3Error
from urllib3 import PoolManager, Retry, Timeout

from milepost_runtime.checksums import FileChecksum
from milepost_runtime.clock import Clock, SystemClock
from milepost_runtime.digests import CHUNK_BYTES, measure_file
from milepost_runtime.errors import ArtifactMissingError, StoreUnavailableError
from milepost_runtime.settings import StoreSettings
from milepost_runtime.store import transfer
from milepost_runtime.store.port import StoredObject
from milepost_runtime.store.s3_errors import translating
from milepost_runtime.store.stopping import require_wanted

CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 30.0
RETRIES = 2
PART_BYTES = 16 * 1024 * 1024
"""Larger files are sent in parts of this size."""
PARALLEL_PARTS = 3


class S3ArtifactStore:
    """Artifacts and documents as S3 objects in one bucket. Safe to use from several threads."""

    def __init__(
        self,
        settings: StoreSettings,
        *,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        address = urlsplit(settings.endpoint)
        self._clock = clock or SystemClock()
        self._bucket = settings.bucket
        self._region = settings.region
        self._pool = _pool(address.scheme, connect_timeout_seconds, read_timeout_seconds)
        self._client = Minio(
            address.netloc,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            region=settings.region,
            secure=address.scheme == "https",
            http_client=self._pool,
        )

    def close(self) -> None:
        """Close idle connections; the store can be used again all the same."""
        self._pool.clear()

    def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        with translating(self._bucket):
            if self._client.bucket_exists(self._bucket):
                return
            try:
                self._client.make_bucket(self._bucket, location=self._region)
            except S3Error as error:
                # Someone else made it between the two requests.
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

    def put_file(self, path: Path, *, name: str, media_type: str) -> ArtifactReference:
        """Store a file's bytes under their digest; nothing is sent when they are there already."""
        found = measure_file(path)
        reference = ArtifactReference(
            name=name, digest=found.digest, size_bytes=found.size_bytes, media_type=media_type
        )
        if transfer.holds_young(self, reference, self._clock.now()):
            return reference
        with path.open("rb") as file, translating(name):
            self._client.put_object(
                self._bucket,
                reference.key,
                # minio asks for a BinaryIO and uses its ``read`` only.
                transfer.VerifyingReader(file, reference),  # pyright: ignore[reportArgumentType]
                found.size_bytes,
                content_type=media_type,
                part_size=PART_BYTES,
                num_parallel_uploads=PARALLEL_PARTS,
            )
        return reference

    def get_file(self, reference: ArtifactReference, path: Path) -> FileChecksum:
        """Write the artifact's bytes to ``path``, verified; ``path`` appears only when they are right.

        Returns their checksum, which whoever reads ``path`` next can compare sooner than the digest.

        Raises:
            ArtifactMissingError: not in the store.
            ArtifactDamagedError: digest or size differ.
        """
        return transfer.receive(self._chunks(reference.key, reference.name), reference, path)

    def verify(self, reference: ArtifactReference) -> None:
        """Read the artifact's bytes and compare digest and size.

        Raises:
            ArtifactMissingError: not in the store.
            ArtifactDamagedError: digest or size differ.
        """
        transfer.check(self._chunks(reference.key, reference.name), reference)

    def exists(self, reference: ArtifactReference) -> bool:
        """Say whether an object of the right size is there, without reading it."""
        try:
            with translating(reference.name):
                return self._client.stat_object(self._bucket, reference.key).size == reference.size_bytes
        except ArtifactMissingError:
            return False

    def address(self, reference: ArtifactReference, *, seconds: int) -> str | None:
        """Return a presigned URL; the name and the media type are those of the reference."""
        return self._client.presigned_get_object(
            self._bucket,
            reference.key,
            expires=timedelta(seconds=seconds),
            response_headers={
                "response-content-type": reference.media_type,
                "response-content-disposition": f'attachment; filename="{reference.name}"',
            },
        )

    def delete_artifact(self, digest: str) -> None:
        """Remove the bytes of an artifact; it is no error when they are gone already."""
        self.delete_document(artifact_key(digest))

    def put_document(self, key: str, content: bytes, *, media_type: str = "application/json") -> None:
        """Write a small named document, whole or not at all; an existing one is replaced."""
        with translating(key):
            self._client.put_object(
                self._bucket, key, io.BytesIO(content), len(content), content_type=media_type
            )

    def get_document(self, key: str) -> bytes | None:
        """Return a document's bytes, None when there is none."""
        try:
            return b"".join(self._chunks(key, key))
        except ArtifactMissingError:
            return None

    def delete_document(self, key: str) -> None:
        """Remove a document; it is no error when it is gone already."""
        try:
            with translating(key):
                self._client.remove_object(self._bucket, key)
        except ArtifactMissingError:
            return

    def remove_abandoned(self, before: datetime, *, dry_run: bool = False) -> int:
        """Abort multipart uploads that were begun before that time and never completed; see the port."""
        removed = 0
        with translating(self._bucket):
            # The client has no public name for these two requests of S3; its version is pinned.
            found = self._client._list_multipart_uploads(self._bucket)  # pyright: ignore[reportPrivateUsage]
            for upload in found.uploads:
                begun = upload.initiated_time
                if (
                    begun is None
                    or begun.astimezone(UTC) >= before
                    or not upload.object_name
                    or not upload.upload_id
                ):
                    continue
                require_wanted()
                if not dry_run:
                    self._client._abort_multipart_upload(  # pyright: ignore[reportPrivateUsage]
                        self._bucket, upload.object_name, upload.upload_id
                    )
                removed += 1
        return removed

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield every object whose key starts with ``prefix``; those of one folder come sorted by name."""
        with translating(prefix):
            for item in self._client.list_objects(self._bucket, prefix, recursive=True):
                require_wanted()
                if item.object_name is None or item.size is None or item.last_modified is None:
                    raise StoreUnavailableError(f"{prefix}: the listing lacks name, size or time")
                yield StoredObject(item.object_name, item.size, item.last_modified)

    def _chunks(self, key: str, name: str) -> Iterator[bytes]:
        with translating(name):
            response = self._client.get_object(self._bucket, key)
        try:
            stream = response.stream(CHUNK_BYTES)
            while True:
                with translating(name):
                    chunk = next(stream, b"")
                if not chunk:
                    return
                yield chunk
        finally:
            response.close()
            response.release_conn()


def _pool(scheme: str, connect_timeout_seconds: float, read_timeout_seconds: float) -> PoolManager:
    retries = Retry(
        total=RETRIES,
        read=1,
        backoff_factor=0.2,
        status_forcelist=(500, 502, 503, 504),
        respect_retry_after_header=False,  # the server must not choose how long we block
    )
    timeout = Timeout(connect=connect_timeout_seconds, read=read_timeout_seconds)
    if scheme == "http":
        return PoolManager(timeout=timeout, retries=retries, maxsize=10)
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())  # for machines without certificates of their own
    return PoolManager(timeout=timeout, retries=retries, maxsize=10, ssl_context=context)
