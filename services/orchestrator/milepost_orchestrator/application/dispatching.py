"""Handles the commands about dispatch, and keeps the gate on the work queue as their events say.

Authority: the records of dispatch in the log, appended at the sequence that was decided on. Failures: a crash
between the record and the gate is healed by ``keep``, here or in another orchestrator; so is a gate that someone
else changed.
"""

import asyncio
from typing import Protocol

import structlog
from milepost_contracts.commands import (
    DispatchCommand,
    DrainWorker,
    HoldDispatch,
    LimitKind,
    ReleaseDispatch,
    UndrainWorker,
)
from milepost_contracts.dispatch import (
    DISPATCH,
    DISPATCH_EVENTS,
    DispatchEvent,
    DispatchHeld,
    DispatchPolicy,
    DispatchReleased,
    KindLimited,
    WorkerDrained,
    WorkerUndrained,
)
from milepost_contracts.records import decode_record, envelop_record
from milepost_contracts.verdicts import Accepted, Duplicate
from milepost_runtime.clock import Clock
from milepost_runtime.errors import RuntimeServiceError
from milepost_runtime.fleet import Fleet
from milepost_runtime.record_log import Record, RecordLog

from milepost_orchestrator.application.answers import Answer, Sender, identity_of, rejected
from milepost_orchestrator.domain.dispatch import (
    Dispatch,
    RecordedDispatch,
    decide_dispatch,
    evolve_dispatch,
)
from milepost_orchestrator.domain.rejections import CommandIdentity, Rejection, Repeated

log = structlog.get_logger()
KEEP_SECONDS = 5.0
_EVENTS: dict[type[DispatchCommand], type[DispatchEvent]] = {
    HoldDispatch: DispatchHeld,
    ReleaseDispatch: DispatchReleased,
    LimitKind: KindLimited,
    DrainWorker: WorkerDrained,
    UndrainWorker: WorkerUndrained,
}


class WorkGate(Protocol):
    """Lets work through to workers, or not."""

    async def apply(self, policy: DispatchPolicy) -> None:
        """Make the gate as the policy says, for all workers at once, those that come later too.

        Raises:
            BusUnavailableError: not done, or not known whether; repeating is safe.
        """
        ...


class Dispatching:
    """The policy of dispatch: what it is, and how it is changed."""

    def __init__(self, records: RecordLog, gate: WorkGate, fleet: Fleet, clock: Clock, source: str) -> None:
        self._fleet = fleet
        self._records = records
        self._gate = gate
        self._clock = clock
        self._source = source

    async def policy(self) -> DispatchPolicy:
        """Return what holds now.

        Raises:
            BusUnavailableError: the log is away.
        """
        return (await self._load()).policy

    async def recorded(self) -> list[RecordedDispatch]:
        """Return what was ever changed about dispatch, oldest first; raises as ``policy`` does."""
        return [_recorded(record) for record in await self._records.read(DISPATCH)]

    async def handle(self, command: DispatchCommand, sender: Sender) -> Answer:
        """Answer the command.

        Raises:
            SequenceConflictError: someone else was first; decide again.
            BusUnavailableError: the log is away.
        """
        state = await self._load()
        identity = identity_of(command, sender, DISPATCH, _EVENTS[type(command)].NAME)
        live: set[str] = set()
        if isinstance(command, DrainWorker | UndrainWorker):
            live = {worker.worker_id for worker in await self._fleet.workers()}
        decision = decide_dispatch(state, command, identity, sender.source, live_workers=live)
        if isinstance(decision, Rejection):
            return rejected(sender.command_id, decision)
        if isinstance(decision, Repeated):
            await self._apply()
            return Duplicate(command_id=sender.command_id, operation_id=DISPATCH)
        if not command.dry_run:
            await self._append(decision, identity, state.policy.sequence)
            await self._apply()
        return Accepted(command_id=sender.command_id, operation_id=DISPATCH, dry_run=command.dry_run)

    async def keep(self) -> None:
        """Keep the gate as the policy says, until cancelled."""
        while True:
            await self._apply()
            await asyncio.sleep(KEEP_SECONDS)

    async def _apply(self) -> None:
        """Bring the gate to the policy; what fails here ``keep`` does in a moment."""
        try:
            await self._gate.apply(await self.policy())
        except RuntimeServiceError as error:
            log.warning("the gate is left as it is", reason=str(error))

    async def _append(self, event: DispatchEvent, identity: CommandIdentity, expected_sequence: int) -> None:
        envelope = envelop_record(
            event,
            event_id=identity.event_id,
            subject=DISPATCH,
            source=self._source,
            time=self._clock.now(),
            causation_id=identity.command_id,
        )
        await self._records.append(envelope, expected_sequence=expected_sequence)
        log.info("dispatch changed", change=event.NAME, about=about(event), requested_by=event.requested_by)

    async def _load(self) -> Dispatch:
        state = Dispatch()
        for each in await self.recorded():
            state = evolve_dispatch(state, each)
        return state


def about(event: DispatchEvent) -> str:
    """Return what an event is about: a kind, all of them, or a worker."""
    if isinstance(event, WorkerDrained | WorkerUndrained):
        return event.worker_id
    return event.kind or "all kinds"


def _recorded(record: Record) -> RecordedDispatch:
    envelope = record.envelope
    return RecordedDispatch(
        sequence=record.sequence,
        event=decode_record(envelope, DISPATCH_EVENTS),
        event_id=envelope.id,
        time=envelope.time,
        causation_id=envelope.causationid,
    )
