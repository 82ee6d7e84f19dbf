"""Put an operation's result files into the store."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from milepost_contracts.artifacts import ArtifactReference

from milepost_runtime.store.port import ArtifactStore


async def upload_results(
    store: ArtifactStore, directory: Path, files: Mapping[str, str]
) -> tuple[ArtifactReference, ...]:
    """Upload each of ``files`` (media type by name) and return the references, sorted by name."""
    return tuple(
        [
            await asyncio.to_thread(store.put_file, directory / name, name=name, media_type=media_type)
            for name, media_type in sorted(files.items())
        ]
    )
