"""What the read models say is in the store."""

from milepost_contracts.artifacts import ArtifactReference
from sqlalchemy import and_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost_orchestrator.adapters.database import database_errors
from milepost_orchestrator.adapters.models import ArtifactModel, CheckpointModel
from milepost_orchestrator.application.store_check import RecordedManifest
from milepost_orchestrator.domain.operation import CheckpointStatus


async def recorded_manifests(engine: AsyncEngine) -> list[RecordedManifest]:
    """Return the manifests of all checkpoints on record.

    Raises:
        DatabaseUnavailableError: Postgres is away.
    """
    query = (
        select(CheckpointModel.checkpoint_id, CheckpointModel.manifest_key, CheckpointModel.manifest_digest)
        .where(CheckpointModel.status == CheckpointStatus.RECORDED.value)
        .order_by(CheckpointModel.sequence)
    )
    with database_errors("read what is on record"):
        async with engine.connect() as connection:
            return [
                RecordedManifest(checkpoint_id, key, digest)
                for checkpoint_id, key, digest in await connection.execute(query)
                if key is not None and digest is not None
            ]


async def recorded_artifacts(engine: AsyncEngine) -> list[ArtifactReference]:
    """Return the artifacts of all checkpoints on record, each once.

    Raises:
        DatabaseUnavailableError: Postgres is away.
    """
    same = and_(
        ArtifactModel.operation_id == CheckpointModel.operation_id,
        ArtifactModel.checkpoint_id == CheckpointModel.checkpoint_id,
    )
    query = (
        select(ArtifactModel.digest, ArtifactModel.name, ArtifactModel.size_bytes, ArtifactModel.media_type)
        .ext(distinct_on(ArtifactModel.digest))
        .join(CheckpointModel, same)
        .where(CheckpointModel.status == CheckpointStatus.RECORDED.value)
        .order_by(ArtifactModel.digest)
    )
    with database_errors("read what is on record"):
        async with engine.connect() as connection:
            return [
                ArtifactReference(name=name, digest=digest, size_bytes=size_bytes, media_type=media_type)
                for digest, name, size_bytes, media_type in await connection.execute(query)
            ]
