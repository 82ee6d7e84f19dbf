"""What the read models refer to in the store."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.database import database_errors
from milepost_orchestrator.adapters.models import ArtifactModel, CheckpointModel, OperationModel
from milepost_orchestrator.application.references import Needed, digest_bytes


class PostgresReferences:
    """Implements ``RecordedReferences``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def needed(self) -> Needed:
        """Return what is referred to; see the port."""
        digests: set[bytes] = set()
        operations: set[str] = set()
        with database_errors("read what is referred to"):
            async with self._engine.connect() as connection:
                artifacts = await connection.stream(select(ArtifactModel.digest).distinct())
                async for (digest,) in artifacts:
                    digests.add(digest_bytes(digest))
                keys = await connection.scalars(
                    select(CheckpointModel.manifest_key).where(CheckpointModel.manifest_key.is_not(None))
                )
                manifests = frozenset(key for key in keys if key is not None)
                columns = (OperationModel.operation_id, OperationModel.inputs, OperationModel.results)
                rows = await connection.stream(select(*columns))
                async for operation_id, inputs, results in rows:
                    operations.add(operation_id)
                    digests.update(_digests(inputs))
                    digests.update(_digests(results))
        return Needed(frozenset(digests), manifests, frozenset(operations))


def _digests(documents: Any) -> list[bytes]:
    artifacts = cast("Sequence[Mapping[str, str]]", documents or ())
    return [digest_bytes(artifact["digest"]) for artifact in artifacts]
