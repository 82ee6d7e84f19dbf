"""A schedule as its events tell it, and what to do about commands that change it.

States: active -> paused -> active; active | paused -> deleted; active -> done, when no time is left. Authority:
only events. Times that have been dealt with, or passed while it was paused, are never due again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias, assert_never

from milepost_contracts.failures import Problem, RejectionCode
from milepost_contracts.schedules import (
    CreateSchedule,
    DeleteSchedule,
    PauseSchedule,
    ScheduleCreated,
    ScheduleDeleted,
    ScheduleEvent,
    ScheduleFired,
    SchedulePaused,
    ScheduleUnpaused,
    UnpauseSchedule,
)

from milepost_orchestrator.domain.rejections import CommandIdentity, Rejection, Repeated, command_id_reused
from milepost_orchestrator.domain.timing import faults_of_timing, newest_due, next_due

ChangeCommand: TypeAlias = PauseSchedule | UnpauseSchedule | DeleteSchedule


class ScheduleState(StrEnum):
    """The state's word for people and clients."""

    ACTIVE = "active"
    PAUSED = "paused"
    DONE = "done"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule."""

    schedule_id: str
    created: ScheduleCreated
    created_at: datetime
    counts_from: datetime
    """Times up to here are settled."""
    sequence: int
    """Position of the newest event, but for what it started."""
    fired_sequence: int = 0
    paused: SchedulePaused | None = None
    deleted: bool = False
    last: ScheduleFired | None = None
    """What the newest time led to."""
    commands: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def next_due(self) -> datetime | None:
        """The time that it waits for; None when it waits for none."""
        if self.deleted or self.paused is not None:
            return None
        return next_due(self.created.timing, self.counts_from)

    @property
    def state(self) -> ScheduleState:
        """Its state."""
        if self.deleted:
            return ScheduleState.DELETED
        if self.paused is not None:
            return ScheduleState.PAUSED
        return ScheduleState.ACTIVE if self.next_due is not None else ScheduleState.DONE

    def due(self, now: datetime) -> datetime | None:
        """Return the time that is to be seen to now: the newest that has come and is not settled."""
        if self.deleted or self.paused is not None:
            return None
        return newest_due(self.created.timing, self.counts_from, now)


@dataclass(frozen=True, slots=True)
class RecordedSchedule:
    """One event with its place in the log."""

    schedule_id: str
    sequence: int
    event: ScheduleEvent
    event_id: str
    time: datetime
    causation_id: str | None


def evolve_schedule(state: Schedule | None, entry: RecordedSchedule) -> Schedule | None:
    """Return the state after one more event; total. None as long as it was not created."""
    event = entry.event
    if state is None:
        return _created(entry, event) if isinstance(event, ScheduleCreated) else None
    if isinstance(event, ScheduleFired):
        settled = max(state.counts_from, event.due_at)
        return replace(state, last=event, counts_from=settled, fired_sequence=entry.sequence)
    commands = state.commands
    if entry.causation_id is not None:
        commands = {**commands, entry.causation_id: entry.event_id}
    state = replace(state, sequence=entry.sequence, commands=commands)
    match event:
        case ScheduleCreated():
            return state  # the first one counts
        case SchedulePaused():
            return replace(state, paused=event)
        case ScheduleUnpaused():
            return replace(state, paused=None, counts_from=max(state.counts_from, entry.time))
        case ScheduleDeleted():
            return replace(state, deleted=True)
        case _:
            assert_never(event)


def _created(entry: RecordedSchedule, event: ScheduleCreated) -> Schedule:
    return Schedule(
        schedule_id=entry.schedule_id,
        created=event,
        created_at=entry.time,
        counts_from=entry.time,
        sequence=entry.sequence,
        commands={entry.causation_id: entry.event_id} if entry.causation_id else {},
    )


def decide_creation(
    state: Schedule | None,
    schedule_id: str,
    command: CreateSchedule,
    identity: CommandIdentity,
    *,
    spec_refused: Rejection | None,
    requested_by: str,
    now: datetime,
) -> ScheduleCreated | Repeated | Rejection:
    """Decide a new schedule; ``spec_refused`` is why its operation could not be started now."""
    if state is not None:
        return _seen(state, identity) or command_id_reused(identity.command_id, schedule_id)
    faults = faults_of_timing(command.timing, now)
    if faults:
        return Rejection(
            RejectionCode.INVALID_SCHEDULE,
            f"the schedule has {_problems(faults)}",
            "correct what is named",
            faults,
        )
    if spec_refused is not None:
        return spec_refused
    return ScheduleCreated(
        timing=command.timing,
        start=command.start,
        name=command.name,
        missed=command.missed,
        reason=command.reason,
        requested_by=requested_by,
    )


def decide_schedule_change(
    state: Schedule | None, command: ChangeCommand, identity: CommandIdentity, requested_by: str
) -> ScheduleEvent | Repeated | Rejection:
    """Decide a pause, its end, or a deletion."""
    if state is None:
        return _not_found(command.schedule_id)
    seen = _seen(state, identity)
    if seen is not None:
        return seen
    if state.deleted:
        return _not_found(command.schedule_id)
    match command:
        case PauseSchedule():
            if state.paused is not None:
                return _unchanged(state, "paused already")
            return SchedulePaused(reason=command.reason, requested_by=requested_by)
        case UnpauseSchedule():
            if state.paused is None:
                return _unchanged(state, "not paused")
            return ScheduleUnpaused(reason=command.reason, requested_by=requested_by)
        case DeleteSchedule():
            return ScheduleDeleted(reason=command.reason, requested_by=requested_by)
        case _:
            assert_never(command)


def _seen(state: Schedule, identity: CommandIdentity) -> Repeated | Rejection | None:
    event_id = state.commands.get(identity.command_id)
    if event_id is None:
        return None
    if event_id == identity.event_id:
        return Repeated(state.schedule_id)
    return command_id_reused(identity.command_id, state.schedule_id)


def _not_found(schedule_id: str) -> Rejection:
    return Rejection(
        RejectionCode.SCHEDULE_NOT_FOUND,
        f"there is no schedule {schedule_id}",
        "`milepost schedule list` lists them",
    )


def _unchanged(state: Schedule, words: str) -> Rejection:
    return Rejection(
        RejectionCode.SCHEDULE_UNCHANGED,
        f"schedule {state.schedule_id} is {words}",
        "nothing needs to be done",
    )


def _problems(faults: tuple[Problem, ...]) -> str:
    return f"{len(faults)} problem{'s' if len(faults) != 1 else ''}"
