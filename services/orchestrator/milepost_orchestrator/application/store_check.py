"""Is what the read models say is on record in the store? Manifests by digest, artifacts by size."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from milepost_contracts.artifacts import ArtifactReference
from milepost_runtime.digests import digest_of_bytes
from milepost_runtime.store.port import ArtifactStore


@dataclass(frozen=True, slots=True)
class RecordedManifest:
    """A manifest as its event recorded it."""

    checkpoint_id: str
    key: str
    digest: str


async def missing_in_store(
    store: ArtifactStore, manifests: Iterable[RecordedManifest], artifacts: Iterable[ArtifactReference]
) -> AsyncIterator[str]:
    """Yield in words what is missing or not as it was recorded.

    Raises:
        StoreUnavailableError, StoreAccessError: the store cannot be read.
    """
    for manifest in manifests:
        content = await asyncio.to_thread(store.get_document, manifest.key)
        if content is None:
            yield f"the manifest {manifest.key} of checkpoint {manifest.checkpoint_id} is missing"
        elif digest_of_bytes(content) != manifest.digest:
            yield f"the manifest {manifest.key} of checkpoint {manifest.checkpoint_id} is not what was recorded"
    for artifact in artifacts:
        if not await asyncio.to_thread(store.exists, artifact):
            yield f"the artifact {artifact.name} ({artifact.digest}) is missing or has another size"
