"""What is started, and how it is run."""

from typing import Annotated, ClassVar

from pydantic import Field, StrictBool

from milepost_contracts.capabilities import Needs
from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_contracts.ids import KindName, Token
from milepost_contracts.model import NO_FLAG, ContractModel, JsonObject

PRIORITY_MAX = 100


class RunOptions(ContractModel):
    """How an operation is run. Nothing here changes its result, but for an accepted environment."""

    checkpoint: CheckpointPolicySpec | None = None
    """When to save checkpoints; the worker's own settings when absent."""
    stop_at_unit: Annotated[int | None, NO_FLAG] = Field(default=None, ge=0)
    """Cancel exactly after this unit, with a checkpoint."""
    pace_units_per_second: Annotated[float | None, NO_FLAG] = Field(default=None, gt=0)
    """Slow down to this speed, for demonstrations."""
    max_attempts: Annotated[int, NO_FLAG] = Field(default=5, ge=1, le=100)
    """After this many lost attempts the operation fails."""
    accept_environment: StrictBool = False
    """The environment (versions, device) may differ from the checkpoint's; equality is then not promised."""
    needs: Needs | None = Field(default=None, exclude_if=lambda needs: needs is None)
    """What its worker must have; any worker of the kind will do when absent, and then nothing is said of it."""


class StartOperation(ContractModel):
    """Start an operation of ``kind`` with ``spec``."""

    TYPE: ClassVar[str] = "milepost.command.start.v1"
    kind: KindName
    spec: JsonObject
    """Validated by the kind's schema before anything is started."""
    name: str | None = Field(default=None, max_length=200)
    """For people; need not be unique."""
    queue: Token = "default"
    priority: Annotated[int, NO_FLAG] = Field(default=0, ge=0, le=PRIORITY_MAX)
    """Of what waits, the ones with more are given out first; among equals the oldest."""
    options: RunOptions = RunOptions()
    dry_run: StrictBool = False
    """Answer what the verdict would be and do nothing."""
