"""The timekeeper: starts what schedules say, at its time and once.

States of a due time: come -> its operation is started -> recorded; or skipped, when it was missed and missed
ones are. Authority: the start's command id, which follows from schedule and time: several orchestrators, and any
of them again after a crash between start and record, start one operation. Failures: nobody there at the time: the
first one that is sees to the newest time that passed, as the schedule says; a refused start is recorded with its
reason.
"""

import asyncio
from datetime import datetime, timedelta

import structlog
from milepost_contracts.failures import RejectionCode
from milepost_contracts.ids import scheduled_command_id_of
from milepost_contracts.schedules import Missed, ScheduleFired
from milepost_contracts.verdicts import Rejected
from milepost_runtime.clock import Clock
from milepost_runtime.errors import BusUnavailableError, RuntimeServiceError, SequenceConflictError

from milepost_orchestrator.application.answers import Sender
from milepost_orchestrator.application.commands import CommandHandler
from milepost_orchestrator.application.schedules import Schedules
from milepost_orchestrator.domain.schedules import Schedule

log = structlog.get_logger()
KEEP_SECONDS = 10.0
LATE_SECONDS = 60.0
"""A time that is seen to later than this was missed."""


class Timekeeper:
    """Sees to due times of all schedules."""

    def __init__(self, schedules: Schedules, handler: CommandHandler, clock: Clock) -> None:
        self._schedules = schedules
        self._handler = handler
        self._clock = clock

    async def keep(self) -> None:
        """Keep an alarm for each schedule, those made elsewhere too, until cancelled."""
        while True:
            try:
                for schedule in await self._schedules.all():
                    self._schedules.expect(schedule)
            except RuntimeServiceError as error:
                log.warning("schedules cannot be read", reason=str(error))
            await asyncio.sleep(KEEP_SECONDS)

    async def ring(self, schedule_id: str) -> datetime | None:
        """See to a schedule whose time has come; return when to look again, None for never.

        Raises:
            BusUnavailableError: something that a start needs is away; repeating is safe.
        """
        schedule = await self._schedules.load(schedule_id)
        if schedule is None:
            return None
        due_at = schedule.due(self._clock.now())
        if due_at is None:
            return schedule.next_due
        event = await self._see_to(schedule, due_at)
        try:
            await self._schedules.fired(schedule, event)
        except SequenceConflictError:
            log.info("someone else saw to it", schedule_id=schedule_id)
        after = await self._schedules.load(schedule_id)
        return None if after is None else after.next_due

    async def _see_to(self, schedule: Schedule, due_at: datetime) -> ScheduleFired:
        command_id = scheduled_command_id_of(schedule.schedule_id, due_at)
        late = self._clock.now() - due_at > timedelta(seconds=LATE_SECONDS)
        if late and schedule.created.missed is Missed.SKIP:
            log.warning("missed and skipped", schedule_id=schedule.schedule_id, due_at=due_at.isoformat())
            return ScheduleFired(due_at=due_at, command_id=command_id, skipped=True)
        sender = Sender(command_id, f"/schedule/{schedule.schedule_id}")
        answer = await self._handler.handle(schedule.created.start, sender)
        if not isinstance(answer, Rejected):
            return ScheduleFired(due_at=due_at, command_id=command_id, operation_id=answer.operation_id)
        if answer.code is RejectionCode.UNAVAILABLE:
            raise BusUnavailableError(answer.message)
        return ScheduleFired(due_at=due_at, command_id=command_id, code=answer.code, message=answer.message)
