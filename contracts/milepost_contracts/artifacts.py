"""Artifacts: immutable bytes named by their digest."""

from typing import Annotated, TypeAlias

from pydantic import Field, StringConstraints

from milepost_contracts.model import ContractModel

Digest: TypeAlias = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
ArtifactName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class ArtifactReference(ContractModel):
    """Where bytes are and what they must be: the digest is both the address and the proof."""

    name: ArtifactName
    """File name within its checkpoint, result or dataset; it never holds a path separator."""
    digest: Digest
    """``sha256:`` and 64 hexadecimal digits."""
    size_bytes: int = Field(ge=0)
    """Length of the bytes."""
    media_type: str = "application/octet-stream"
    """A safe format only: safetensors, Parquet, JSON, PNG, HTML. Never pickle."""

    @property
    def key(self) -> str:
        """Key of the bytes in the object store."""
        return artifact_key(self.digest)


def artifact_key(digest: str) -> str:
    """Return the object-store key of the bytes with ``digest``."""
    algorithm, _, value = digest.partition(":")
    return f"artifacts/{algorithm}/{value}"


def manifest_key(operation_id: str, checkpoint_id: str) -> str:
    """Return the object-store key of a checkpoint's manifest."""
    return f"checkpoints/{operation_id}/{checkpoint_id}.json"


def dataset_key(name: str) -> str:
    """Return the object-store key of the newest dataset called ``name``."""
    return f"datasets/{name}.json"
