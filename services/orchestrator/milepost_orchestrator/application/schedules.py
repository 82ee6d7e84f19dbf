"""Handles the commands about schedules, and knows all schedules.

Authority: each schedule's records in the log, appended at the sequence that was decided on. What a schedule
started last is a record of its own subject, of which only the newest is kept.
"""

from datetime import datetime

import structlog
from milepost_contracts.ids import event_id_of, schedule_id_of
from milepost_contracts.records import DispatchEnvelope, decode_record, envelop_record
from milepost_contracts.schedules import (
    SCHEDULE_EVENTS,
    CreateSchedule,
    DeleteSchedule,
    PauseSchedule,
    ScheduleCommand,
    ScheduleCreated,
    ScheduleDeleted,
    ScheduleEvent,
    ScheduleFired,
    SchedulePaused,
    ScheduleUnpaused,
    UnpauseSchedule,
)
from milepost_contracts.verdicts import Accepted, Duplicate
from milepost_runtime.clock import Clock
from milepost_runtime.record_log import Record, RecordLog

from milepost_orchestrator.application.alarms import Alarms
from milepost_orchestrator.application.answers import Answer, Sender, identity_of, rejected
from milepost_orchestrator.application.documents import Document
from milepost_orchestrator.application.specs import SpecResolver
from milepost_orchestrator.domain.rejections import CommandIdentity, Rejection, Repeated
from milepost_orchestrator.domain.schedules import (
    RecordedSchedule,
    Schedule,
    decide_creation,
    decide_schedule_change,
    evolve_schedule,
)

log = structlog.get_logger()
_LAST = "-last"
"""End of the subject under which a schedule's newest firing is kept."""
_EVENTS: dict[type[ScheduleCommand], type[ScheduleEvent]] = {
    CreateSchedule: ScheduleCreated,
    PauseSchedule: SchedulePaused,
    UnpauseSchedule: ScheduleUnpaused,
    DeleteSchedule: ScheduleDeleted,
}


class Schedules:
    """All schedules of a tenant."""

    def __init__(
        self, records: RecordLog, specs: SpecResolver, clock: Clock, alarms: Alarms, source: str
    ) -> None:
        self._records = records
        self._specs = specs
        self._clock = clock
        self._alarms = alarms
        self._source = source

    async def handle(self, command: ScheduleCommand, sender: Sender) -> Answer:
        """Answer the command.

        Raises:
            SequenceConflictError: someone else was first; decide again.
            BusUnavailableError: the log is away.
        """
        created = isinstance(command, CreateSchedule)
        schedule_id = schedule_id_of(sender.command_id) if created else command.schedule_id
        state = await self.load(schedule_id)
        identity = identity_of(command, sender, schedule_id, _EVENTS[type(command)].NAME)
        if isinstance(command, CreateSchedule):
            decision = await self._decide_creation(state, schedule_id, command, identity, sender)
        else:
            decision = decide_schedule_change(state, command, identity, sender.source)
        if isinstance(decision, Rejection):
            return rejected(sender.command_id, decision)
        if isinstance(decision, Repeated):
            return Duplicate(command_id=sender.command_id, operation_id=schedule_id)
        if not command.dry_run:
            await self._append(schedule_id, decision, identity, state.sequence if state else 0)
            log.info("schedule changed", schedule_id=schedule_id, change=decision.NAME)
            self.expect(await self.load(schedule_id))
        return Accepted(command_id=sender.command_id, operation_id=schedule_id, dry_run=command.dry_run)

    async def load(self, schedule_id: str) -> Schedule | None:
        """Return a schedule, None when there is no such one.

        Raises:
            BusUnavailableError: the log is away.
        """
        records = [*await self._records.read(schedule_id), *await self._records.read(schedule_id + _LAST)]
        state: Schedule | None = None
        for record in records:
            state = evolve_schedule(state, _recorded(record))
        return state

    async def all(self) -> list[Schedule]:
        """Return every schedule that was not deleted, oldest first; raises as ``load`` does."""
        found: dict[str, Schedule | None] = {}
        for entry in await self.recorded():
            found[entry.schedule_id] = evolve_schedule(found.get(entry.schedule_id), entry)
        return [each for each in found.values() if each is not None and not each.deleted]

    async def recorded(self) -> list[RecordedSchedule]:
        """Return what ever became of schedules, oldest first, then what each started last; raises as ``load``."""
        records = [each for each in await self._records.read() if each.envelope.type in SCHEDULE_EVENTS]
        records.sort(key=lambda each: (each.envelope.subject.endswith(_LAST), each.sequence))
        return [_recorded(each) for each in records]

    def expect(self, schedule: Schedule | None) -> None:
        """Ring at the schedule's next time."""
        if schedule is not None and (due := schedule.next_due) is not None:
            self._alarms.expect(schedule.schedule_id, due)

    async def fired(self, schedule: Schedule, event: ScheduleFired) -> None:
        """Record what a time led to; the same record, whoever writes it.

        Raises:
            SequenceConflictError: someone else recorded another time.
        """
        envelope = self._envelope(
            schedule.schedule_id + _LAST,
            event,
            event_id_of(schedule.schedule_id, ScheduleFired.NAME, event.due_at.isoformat()),
            event.command_id,
        )
        await self._records.append(envelope, expected_sequence=schedule.fired_sequence, replace=True)

    async def _decide_creation(
        self,
        state: Schedule | None,
        schedule_id: str,
        command: CreateSchedule,
        identity: CommandIdentity,
        sender: Sender,
    ) -> ScheduleCreated | Repeated | Rejection:
        resolved = None if state else await self._specs.resolve(command.start.kind, command.start.spec)
        return decide_creation(
            state,
            schedule_id,
            command,
            identity,
            spec_refused=resolved if isinstance(resolved, Rejection) else None,
            requested_by=sender.source,
            now=self._clock.now(),
        )

    async def _append(
        self, schedule_id: str, event: ScheduleEvent, identity: CommandIdentity, expected_sequence: int
    ) -> None:
        envelope = self._envelope(schedule_id, event, identity.event_id, identity.command_id)
        await self._records.append(envelope, expected_sequence=expected_sequence)

    def _envelope(
        self, subject: str, event: ScheduleEvent, event_id: str, causation_id: str
    ) -> DispatchEnvelope:
        return envelop_record(
            event,
            event_id=event_id,
            subject=subject,
            source=self._source,
            time=self._clock.now(),
            causation_id=causation_id,
        )


def schedule_document(schedule: Schedule, now: datetime) -> Document:
    """Return a schedule as clients see it."""
    created = schedule.created
    next_due = schedule.next_due
    return {
        "schedule_id": schedule.schedule_id,
        "name": created.name,
        "state": schedule.state,
        "timing": created.timing.model_dump(mode="json"),
        "missed": created.missed,
        "start": created.start.model_dump(mode="json"),
        "requested_by": created.requested_by,
        "created_at": schedule.created_at.isoformat(),
        "next_due": None if next_due is None else max(next_due, now).isoformat(),
        "paused": None if schedule.paused is None else schedule.paused.model_dump(mode="json"),
        "last": None if schedule.last is None else schedule.last.model_dump(mode="json"),
    }


def _recorded(record: Record) -> RecordedSchedule:
    envelope = record.envelope
    return RecordedSchedule(
        schedule_id=envelope.subject.removesuffix(_LAST),
        sequence=record.sequence,
        event=decode_record(envelope, SCHEDULE_EVENTS),
        event_id=envelope.id,
        time=envelope.time,
        causation_id=envelope.causationid,
    )
