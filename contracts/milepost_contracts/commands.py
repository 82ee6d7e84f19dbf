"""Commands: requests that may be refused. The envelope's id is the idempotency key."""

from typing import Annotated, ClassVar, Self, TypeAlias

from pydantic import Field, StrictBool, model_validator

from milepost_contracts.cleanup import CleanUpCheckpoints
from milepost_contracts.ids import CheckpointId, KindName, OperationId, WorkerId
from milepost_contracts.model import NO_FLAG, ContractModel, JsonObject
from milepost_contracts.schedules import (
    CreateSchedule,
    DeleteSchedule,
    PauseSchedule,
    ScheduleCommand,
    UnpauseSchedule,
)
from milepost_contracts.start import PRIORITY_MAX
from milepost_contracts.start import RunOptions as RunOptions  # noqa: PLC0414 - has its name from here
from milepost_contracts.start import StartOperation as StartOperation  # noqa: PLC0414 - has its name from here

CANCEL_DEADLINE_SECONDS_MAX = 7 * 24 * 3600.0
CONCURRENCY_MAX = 10_000


class CancelOperation(ContractModel):
    """Cancel an operation: it saves a checkpoint of the last finished unit and ends as cancelled."""

    TYPE: ClassVar[str] = "milepost.command.cancel.v1"
    operation_id: OperationId
    reason: str | None = Field(default=None, max_length=500)
    at_unit: Annotated[int | None, NO_FLAG] = Field(default=None, ge=0)
    """Stop exactly after this unit; at once when it has passed already."""
    deadline_seconds: Annotated[float | None, NO_FLAG] = Field(
        default=None, gt=0, le=CANCEL_DEADLINE_SECONDS_MAX
    )
    """When it has not stopped by itself after this long it is ended as of its newest durable checkpoint."""
    force: StrictBool = False
    """Do not wait for the end of the unit at all: end it now, as of its newest durable checkpoint."""
    dry_run: StrictBool = False

    @model_validator(mode="after")
    def _one_way_to_stop(self) -> Self:
        given = [self.at_unit is not None, self.deadline_seconds is not None, self.force]
        if sum(given) > 1:
            raise ValueError("give one of at_unit, deadline_seconds and force: each says when it stops")
        return self


class ResumeOperation(ContractModel):
    """Resume a cancelled or failed operation as a new operation, linked to it."""

    TYPE: ClassVar[str] = "milepost.command.resume.v1"
    operation_id: OperationId
    checkpoint_id: CheckpointId | None = None
    """Any kept checkpoint of the operation; the newest when absent."""
    name: str | None = Field(default=None, max_length=200)
    options: RunOptions | None = None
    """The parent's options, less ``stop_at_unit`` and ``accept_environment``, when absent."""
    dry_run: StrictBool = False


class ForkOperation(ContractModel):
    """Go on from a checkpoint with changed settings, as a new operation; the parent is left as it is.

    Any operation with a kept checkpoint can be forked, also a completed one, and as often as one likes.
    """

    TYPE: ClassVar[str] = "milepost.command.fork.v1"
    operation_id: OperationId
    changes: JsonObject
    """Merged into the parent's spec (JSON Merge Patch, RFC 7396); the kind says which fields may change."""
    checkpoint_id: CheckpointId | None = None
    """Any kept checkpoint of the operation; the newest when absent."""
    name: str | None = Field(default=None, max_length=200)
    options: RunOptions | None = None
    """The parent's options, less ``stop_at_unit`` and ``accept_environment``, when absent."""
    dry_run: StrictBool = False


class RetryOperation(ContractModel):
    """Do a failed operation again, from where it began itself, as a new operation linked to it.

    Its own checkpoints are not used: what made it fail may be in them. To go on from one of them, resume it.
    """

    TYPE: ClassVar[str] = "milepost.command.retry.v1"
    operation_id: OperationId
    name: str | None = Field(default=None, max_length=200)
    options: RunOptions | None = None
    """The failed operation's own options when absent."""
    dry_run: StrictBool = False


class CheckpointNow(ContractModel):
    """Save a checkpoint of a running operation at its next unit boundary, with the reason ``manual``."""

    TYPE: ClassVar[str] = "milepost.command.checkpoint-now.v1"
    operation_id: OperationId
    reason: str | None = Field(default=None, max_length=500)
    """For people."""
    dry_run: StrictBool = False


class PrioritizeOperation(ContractModel):
    """Give an operation that waits in the queue another place in it."""

    TYPE: ClassVar[str] = "milepost.command.prioritize.v1"
    operation_id: OperationId
    priority: Annotated[int, NO_FLAG] = Field(ge=0, le=PRIORITY_MAX)
    """Of what waits, the ones with more are given out first; among equals the oldest."""
    reason: str | None = Field(default=None, max_length=500)
    dry_run: StrictBool = False


class PinCheckpoint(ContractModel):
    """Keep a checkpoint: it cannot be deleted until it is unpinned."""

    TYPE: ClassVar[str] = "milepost.command.pin-checkpoint.v1"
    operation_id: OperationId
    checkpoint_id: CheckpointId
    reason: str | None = Field(default=None, max_length=500)
    dry_run: StrictBool = False


class UnpinCheckpoint(ContractModel):
    """Let a checkpoint be deleted again."""

    TYPE: ClassVar[str] = "milepost.command.unpin-checkpoint.v1"
    operation_id: OperationId
    checkpoint_id: CheckpointId
    reason: str | None = Field(default=None, max_length=500)
    dry_run: StrictBool = False


class DeleteCheckpoint(ContractModel):
    """Delete a checkpoint of an operation that has ended and is not being gone on with.

    Its manifest goes at once; its artifacts when a sweep finds that nothing else refers to them.
    """

    TYPE: ClassVar[str] = "milepost.command.delete-checkpoint.v1"
    operation_id: OperationId
    checkpoint_id: CheckpointId
    reason: str | None = Field(default=None, max_length=500)
    dry_run: StrictBool = False


class HoldDispatch(ContractModel):
    """Give workers nothing new, of one kind or at all, until it is released; what runs goes on."""

    TYPE: ClassVar[str] = "milepost.command.hold.v1"
    kind: KindName | None = None
    """All kinds when absent."""
    reason: str | None = Field(default=None, max_length=500)
    """Shown with everything that waits for it."""
    dry_run: StrictBool = False


class ReleaseDispatch(ContractModel):
    """End a hold: of one kind, or the one of all kinds. Kinds that are held by themselves stay so."""

    TYPE: ClassVar[str] = "milepost.command.release.v1"
    kind: KindName | None = None
    reason: str | None = Field(default=None, max_length=500)
    dry_run: StrictBool = False


class LimitKind(ContractModel):
    """Let at most so many operations of a kind be at workers at the same time; what runs goes on."""

    TYPE: ClassVar[str] = "milepost.command.limit.v1"
    kind: KindName
    limit: Annotated[int | None, NO_FLAG] = Field(default=None, ge=1, le=CONCURRENCY_MAX)
    """As many as there are slots when absent. To have none at all, hold the kind."""
    reason: str | None = Field(default=None, max_length=500)
    dry_run: StrictBool = False


class DrainWorker(ContractModel):
    """Give a worker nothing new until it is undrained; what it runs goes on to its end, or elsewhere."""

    TYPE: ClassVar[str] = "milepost.command.drain.v1"
    worker_id: WorkerId
    release: StrictBool = False
    """Do not wait for the end of what it runs: each saves a checkpoint and goes on at another worker."""
    reason: str | None = Field(default=None, max_length=500)
    """Shown with the worker."""
    dry_run: StrictBool = False


class UndrainWorker(ContractModel):
    """Let a drained worker take work again."""

    TYPE: ClassVar[str] = "milepost.command.undrain.v1"
    worker_id: WorkerId
    reason: str | None = Field(default=None, max_length=500)
    dry_run: StrictBool = False


OperationCommand: TypeAlias = (
    StartOperation
    | CancelOperation
    | ResumeOperation
    | ForkOperation
    | RetryOperation
    | CheckpointNow
    | PrioritizeOperation
    | PinCheckpoint
    | UnpinCheckpoint
    | DeleteCheckpoint
)
"""Commands about one operation."""
DispatchCommand: TypeAlias = HoldDispatch | ReleaseDispatch | LimitKind | DrainWorker | UndrainWorker
Command: TypeAlias = OperationCommand | DispatchCommand | ScheduleCommand | CleanUpCheckpoints

COMMANDS: dict[str, type[Command]] = {
    "start": StartOperation,
    "cancel": CancelOperation,
    "resume": ResumeOperation,
    "fork": ForkOperation,
    "retry": RetryOperation,
    "checkpoint-now": CheckpointNow,
    "prioritize": PrioritizeOperation,
    "pin-checkpoint": PinCheckpoint,
    "unpin-checkpoint": UnpinCheckpoint,
    "delete-checkpoint": DeleteCheckpoint,
    "hold": HoldDispatch,
    "release": ReleaseDispatch,
    "limit": LimitKind,
    "drain": DrainWorker,
    "undrain": UndrainWorker,
    "cleanup": CleanUpCheckpoints,
    "schedule": CreateSchedule,
    "pause-schedule": PauseSchedule,
    "unpause-schedule": UnpauseSchedule,
    "delete-schedule": DeleteSchedule,
}
"""Command classes by their name on the bus."""


def command_name(command: Command | type[Command]) -> str:
    """Return the name of a command on the bus, such as ``start``."""
    return command.TYPE.split(".")[2]
