"""Schedules: operations that are started at a time, or again and again."""

from enum import StrEnum
from typing import Annotated, ClassVar, Self, TypeAlias

from pydantic import AwareDatetime, Field, StrictBool, StringConstraints, model_validator

from milepost_contracts.failures import RejectionCode
from milepost_contracts.ids import CommandId, OperationId, ScheduleId
from milepost_contracts.model import ContractModel
from milepost_contracts.records import RecordedEvent, RequestedEvent
from milepost_contracts.start import StartOperation

Reason: TypeAlias = Annotated[str, StringConstraints(max_length=500)]


class Missed(StrEnum):
    """What becomes of times that passed while nobody could start anything."""

    ONCE = "once"
    """The newest of them is made up for, as soon as possible; those before it are not."""
    SKIP = "skip"
    """None of them is; the next time counts."""


class Timing(ContractModel):
    """When: once, or as a cron expression says in a time zone."""

    at: AwareDatetime | None = None
    cron: str | None = Field(default=None, max_length=200)
    """Five fields (minute, hour, day, month, weekday), or six with seconds first; see cron(5)."""
    time_zone: str = Field(default="UTC", max_length=100)
    """Of the cron expression, such as ``Europe/Berlin``; clock changes are as in Debian's cron."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.at is None) == (self.cron is None):
            raise ValueError("give one of at and cron")
        return self


class CreateSchedule(ContractModel):
    """Start an operation at a time, or again and again."""

    TYPE: ClassVar[str] = "milepost.command.schedule.v1"
    timing: Timing
    start: StartOperation
    """What is started each time; its spec is checked now and again each time. Its ``dry_run`` must be false."""
    name: str | None = Field(default=None, max_length=200)
    missed: Missed = Missed.ONCE
    reason: Reason | None = None
    dry_run: StrictBool = False

    @model_validator(mode="after")
    def _starts_for_real(self) -> Self:
        if self.start.dry_run:
            raise ValueError("start.dry_run must be false: try the schedule itself with dry_run")
        return self


class PauseSchedule(ContractModel):
    """Start nothing more until it is unpaused; times that pass meanwhile are not made up for."""

    TYPE: ClassVar[str] = "milepost.command.pause-schedule.v1"
    schedule_id: ScheduleId
    reason: Reason | None = None
    dry_run: StrictBool = False


class UnpauseSchedule(ContractModel):
    """Go on with a paused schedule from now on."""

    TYPE: ClassVar[str] = "milepost.command.unpause-schedule.v1"
    schedule_id: ScheduleId
    reason: Reason | None = None
    dry_run: StrictBool = False


class DeleteSchedule(ContractModel):
    """End a schedule; what it has started goes on."""

    TYPE: ClassVar[str] = "milepost.command.delete-schedule.v1"
    schedule_id: ScheduleId
    reason: Reason | None = None
    dry_run: StrictBool = False


ScheduleCommand: TypeAlias = CreateSchedule | PauseSchedule | UnpauseSchedule | DeleteSchedule


class _ScheduleEvent(RequestedEvent):
    ABOUT = "schedule"


class ScheduleCreated(_ScheduleEvent):
    """The schedule exists and counts from now on."""

    NAME = "created"
    timing: Timing
    start: StartOperation
    name: str | None = None
    missed: Missed = Missed.ONCE


class SchedulePaused(_ScheduleEvent):
    """Nothing is started until it is unpaused."""

    NAME = "paused"


class ScheduleUnpaused(_ScheduleEvent):
    """It counts again, from now on."""

    NAME = "unpaused"


class ScheduleDeleted(_ScheduleEvent):
    """It is over."""

    NAME = "deleted"


class ScheduleFired(RecordedEvent):
    """A time came; only the newest of a schedule is kept, older ones are told by the operations themselves."""

    ABOUT = "schedule"
    NAME = "fired"
    due_at: AwareDatetime
    command_id: CommandId
    """Follows from the schedule and the time, so a time starts one operation, whoever sees to it."""
    operation_id: OperationId | None = None
    """What was started; absent when it was refused or skipped."""
    skipped: bool = False
    """It was missed, and missed ones are skipped."""
    code: RejectionCode | None = None
    message: str | None = None
    """Why it was refused."""


ScheduleEvent: TypeAlias = (
    ScheduleCreated | SchedulePaused | ScheduleUnpaused | ScheduleDeleted | ScheduleFired
)
SCHEDULE_EVENTS: dict[str, type[ScheduleEvent]] = {
    event.type_name(): event
    for event in (ScheduleCreated, SchedulePaused, ScheduleUnpaused, ScheduleDeleted, ScheduleFired)
}
"""By CloudEvents type."""
