"""Checkpoints: why they are saved, when, and the manifest that puts one on record."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.ids import CheckpointId, KindName, OperationId
from milepost_contracts.model import NO_FLAG, ContractModel, JsonObject, Unit


class CheckpointReason(StrEnum):
    """Why a checkpoint was saved."""

    PERIODIC = "periodic"
    CANCELLATION = "cancellation"
    FAILURE = "failure"
    SHUTDOWN = "shutdown"
    MANUAL = "manual"


class CheckpointPolicySpec(ContractModel):
    """When to save periodic checkpoints. With nothing given: never."""

    every_units: Annotated[int | None, NO_FLAG] = Field(default=None, ge=1)
    """Save at each multiple of this many units."""
    every_seconds: Annotated[float | None, NO_FLAG] = Field(default=None, gt=0)
    """Save when this many seconds have passed since the last save, or since the start."""
    min_seconds: Annotated[float, NO_FLAG] = Field(default=1.0, ge=0)
    """Floor between periodic checkpoints, so that fast units do not do nothing but save."""


class CheckpointOrigin(ContractModel):
    """The checkpoint that a resumed operation goes on from, complete: the parent's log need not be read."""

    operation_id: OperationId
    checkpoint_id: CheckpointId
    unit: Unit
    artifacts: tuple[ArtifactReference, ...]
    fingerprint: dict[str, str]


class Manifest(ContractModel):
    """The document that lists a checkpoint's artifacts; written last, so what it lists is there."""

    schema_version: Literal[1] = 1
    operation_id: OperationId
    checkpoint_id: CheckpointId
    kind: KindName
    attempt: int
    unit: Unit
    total_units: Unit
    reason: CheckpointReason
    saved_at: AwareDatetime
    artifacts: tuple[ArtifactReference, ...]
    fingerprint: dict[str, str]
    """What must be equal for the resumed run to be exact: code, engine and data versions."""
    summary: JsonObject = {}
