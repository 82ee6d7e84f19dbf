"""What follows from a control event: work for workers, a child for a resume, an end for what nobody owns.

Authority: the log. Every effect looks there first and is idempotent, so the command handler carries it out right
after its append, the reactor again when it reads the event, and the sweeper once more when both were cut off.
Losing a race (to a claim, to another orchestrator) is normal and means that the effect is somebody else's now.
"""

from datetime import datetime, timedelta

import structlog
from milepost_contracts.events import (
    Cancelled,
    CancelRequested,
    CheckpointDeleted,
    CheckpointRequested,
    Completed,
    Event,
    Failed,
    Prioritized,
    Requested,
    Resumed,
    Side,
)
from milepost_contracts.ids import event_id_of
from milepost_contracts.messages import envelop_event
from milepost_runtime.clock import Clock
from milepost_runtime.errors import SequenceConflictError
from milepost_runtime.event_log import EventLog
from milepost_runtime.signals import Signals
from milepost_runtime.store.port import ArtifactStore
from milepost_runtime.store.stopping import in_thread
from milepost_runtime.work_queue import WorkKey, WorkQueue

from milepost_orchestrator.application.alarms import Alarms
from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.application.parking import Admission
from milepost_orchestrator.domain.decisions import cancelled_by_force
from milepost_orchestrator.domain.operation import Cancelling, Queued, is_terminal

log = structlog.get_logger()
FENCE_GRACE_SECONDS = 3.0
"""How much longer than the deadline of a cancel a worker that answers has to say itself that it has ended it."""
ASK_SECONDS = 1.0
LOST_RACE_SECONDS = 0.2


class Appender:
    """Appends the orchestrator's events with their envelope."""

    def __init__(self, event_log: EventLog, clock: Clock, source: str) -> None:
        self._event_log = event_log
        self._clock = clock
        self._source = source

    def now(self) -> datetime:
        """Return the time that the next event would have."""
        return self._clock.now()

    async def append(
        self,
        operation_id: str,
        event: Event,
        *,
        event_id: str,
        root_id: str,
        causation_id: str | None,
        expected_sequence: int,
    ) -> int:
        """Append one event and return its sequence.

        Raises:
            SequenceConflictError: someone else was first.
            BusUnavailableError: no answer; repeating with the same event id is safe.
        """
        envelope = envelop_event(
            event,
            event_id=event_id,
            operation_id=operation_id,
            source=self._source,
            time=self._clock.now(),
            correlation_id=root_id,
            causation_id=causation_id,
        )
        return await self._event_log.append(envelope, type(event), expected_sequence=expected_sequence)


def work_key(operation_id: str, requested: Requested) -> WorkKey:
    """Return the key of an operation's work message."""
    return WorkKey(kind=requested.kind, queue=requested.queue, operation_id=operation_id)


class Effects:
    """Carries out what events ask for.

    Every method may raise ``BusUnavailableError`` or a store's error; repeating is safe.
    """

    def __init__(
        self,
        operations: Operations,
        appender: Appender,
        work_queue: WorkQueue,
        signals: Signals,
        store: ArtifactStore,
        alarms: Alarms,
        admission: Admission,
    ) -> None:
        self._admission = admission
        self._store = store
        self._alarms = alarms
        self._operations = operations
        self._appender = appender
        self._work_queue = work_queue
        self._signals = signals

    async def follow(self, operation_id: str, event: Event) -> None:
        """Carry out what an event of an operation asks for; nothing for those that ask for nothing."""
        match event:
            case Requested():
                await self.dispatch(operation_id)
            case CancelRequested():
                await self.cancel(operation_id)
            case Prioritized():
                await self._reorder(operation_id)
            case CheckpointRequested():
                await self._signals.notify(operation_id)
            case CheckpointDeleted():
                await self._forget_manifest(event)
            case Cancelled() | Completed() | Failed():
                await self.clear(operation_id)
            case _:
                pass

    async def repeat(self, operation_id: str, event_id: str) -> None:
        """Carry out once more what an event that is in the log asks for."""
        for entry in await self._operations.entries(operation_id, side=Side.CONTROL):
            if entry.event_id == event_id:
                await self.follow(operation_id, entry.event)

    async def _forget_manifest(self, deleted: CheckpointDeleted) -> None:
        """Take the checkpoint off the record; its artifacts stay: others may share them."""
        key = deleted.manifest_key
        if key is not None:
            await in_thread(self._store.delete_document, key)

    async def dispatch(self, operation_id: str) -> None:
        """Make sure that there is work for the operation, unless it has ended."""
        state = await self._operations.load(operation_id)
        if state is not None and not is_terminal(state) and state.facts.imported_from is None:
            await self._dispatch(operation_id, state.facts.requested, state.facts.priority)

    async def dispatch_new(self, operation_id: str, requested: Requested) -> None:
        """Put work in for an operation that was requested just now; nothing needs to be looked up."""
        await self._dispatch(operation_id, requested, requested.priority)

    async def create_child(self, resumed: Resumed, *, resumed_event_id: str, command_id: str | None) -> None:
        """Make sure that the child of an accepted resume exists and has work."""
        child, child_id = resumed.child, resumed.child_id
        try:
            await self._appender.append(
                child_id,
                child,
                event_id=event_id_of(child_id, Requested.NAME, resumed_event_id),
                root_id=child.root_id,
                causation_id=command_id,
                expected_sequence=0,
            )
        except SequenceConflictError:
            await self.dispatch(child_id)  # it exists; it may have ended already
            return
        log.info("resumed", operation_id=child_id, parent_id=child.parent_id)
        await self._dispatch(child_id, child, child.priority)

    async def finish_resume(self, parent_id: str, child_id: str) -> None:
        """Create the child of an accepted resume whose follow-up was cut off."""
        for entry in await self._operations.entries(parent_id, side=Side.CONTROL):
            event = entry.event
            if isinstance(event, Resumed) and event.child_id == child_id:
                await self.create_child(event, resumed_event_id=entry.event_id, command_id=entry.causation_id)

    async def clear(self, operation_id: str) -> None:
        """Leave no work of an operation that has ended: whoever ended it may have died before removing it."""
        state = await self._operations.load(operation_id)
        if state is not None and is_terminal(state):
            await self._work_queue.remove(work_key(operation_id, state.facts.requested))

    async def cancel(self, operation_id: str) -> None:
        """Tell the owner to look; end the operation here when nobody owns it and it is time to stop.

        One that has ended leaves no work behind, as ``clear`` does.
        """
        await self._signals.notify(operation_id)
        state, expected_sequence = await self._operations.load_for_run_append(operation_id)
        if state is None or state.facts.imported_from is not None:
            return
        if is_terminal(state):
            await self._work_queue.remove(work_key(operation_id, state.facts.requested))
        if not isinstance(state, Cancelling):
            return
        if _can_end_here(state):
            await self._end_cancelled(state, expected_sequence)
        elif state.deadline_at is not None:
            self._alarms.expect(operation_id, state.deadline_at)

    async def enforce_deadline(self, operation_id: str) -> datetime | None:
        """End an operation whose cancel has waited long enough; return when to look again, None for never.

        Whatever its worker writes after that is refused: it is fenced, kills its child and forgets the operation.
        The work goes right after the end; where that was cut off, the end's own event brings it about (``clear``).
        """
        state, expected_sequence = await self._operations.load_for_run_append(operation_id)
        if not isinstance(state, Cancelling) or state.deadline_at is None:
            return None
        now, patient_until = self._appender.now(), state.deadline_at + timedelta(seconds=FENCE_GRACE_SECONDS)
        if now < state.deadline_at:
            return state.deadline_at
        if state.facts.owner is not None and now < patient_until:
            answer = await self._signals.ask_owner(operation_id, timeout_seconds=ASK_SECONDS)
            if answer is not None:  # it has the deadline too, and knows better what became of the operation
                return patient_until
        if await self._append_cancelled(state, cancelled_by_force(state), expected_sequence):
            await self._signals.notify(
                operation_id
            )  # a worker that still computes it learns that it is fenced
            return None
        return self._appender.now() + timedelta(seconds=LOST_RACE_SECONDS)

    async def _reorder(self, operation_id: str) -> None:
        """Give what waits its place in the queue; what a worker has already has none."""
        state = await self._operations.load(operation_id)
        if isinstance(state, Queued):
            key = work_key(operation_id, state.facts.requested)
            await self._work_queue.prioritize(key, state.facts.priority)

    async def _dispatch(self, operation_id: str, requested: Requested, priority: int) -> None:
        key = work_key(operation_id, requested)
        if not await self._admission.admits(requested.kind, requested.options.needs):
            log.info("parked", operation_id=operation_id, kind=requested.kind)  # see application.parking
            return
        if await self._work_queue.dispatch(key, priority=priority):
            log.info("dispatched", operation_id=operation_id, kind=requested.kind, queue=requested.queue)

    async def _end_cancelled(self, state: Cancelling, expected_sequence: int) -> None:
        facts = state.facts
        event = Cancelled(
            attempt=facts.attempt,
            unit=facts.unit,
            checkpoint_id=facts.shown_checkpoint_id,
            reason=state.reason or "cancelled on request",
        )
        await self._append_cancelled(state, event, expected_sequence)

    async def _append_cancelled(self, state: Cancelling, event: Cancelled, expected_sequence: int) -> bool:
        """Append the end; False when a worker was faster."""
        facts = state.facts
        try:
            await self._appender.append(
                facts.operation_id,
                event,
                event_id=event_id_of(facts.operation_id, Side.RUN, Cancelled.NAME, expected_sequence),
                root_id=facts.requested.root_id,
                causation_id=None,
                expected_sequence=expected_sequence,
            )
        except SequenceConflictError:
            log.info("a worker was faster", operation_id=facts.operation_id)  # it will see the cancel
            return False
        log.info("cancelled", operation_id=facts.operation_id, unit=event.unit, forced=event.forced)
        await self._work_queue.remove(work_key(facts.operation_id, facts.requested))
        return True


def _can_end_here(state: Cancelling) -> bool:
    """Nobody owns it, and what it has done so far reaches the unit at which it is to stop."""
    reached = state.at_unit is None or state.facts.unit >= state.at_unit
    return state.facts.owner is None and reached
