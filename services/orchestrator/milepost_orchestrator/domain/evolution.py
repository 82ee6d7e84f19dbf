"""The one fold: ``evolve(state, recorded) -> state``, total and pure.

Every known event leads from every state to a state; a fact that comes too late or out of order changes nothing but
the positions. An event of a type that is not known is an error, here and in whoever decodes it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, assert_never

from milepost_contracts import events
from milepost_contracts.events import Event, Side
from milepost_contracts.lineage import Relation

from milepost_orchestrator.domain.operation import (
    Cancelled,
    Cancelling,
    CheckpointStatus,
    Completed,
    Continuation,
    Facts,
    Failed,
    Operation,
    Queued,
    Running,
    is_terminal,
)
from milepost_orchestrator.domain.run_evolution import evolve_run

_BY_COMMAND = (
    events.CancelRequested,
    events.Resumed,
    events.CheckpointRequested,
    events.Prioritized,
    events.CheckpointPinned,
    events.CheckpointUnpinned,
    events.CheckpointDeleted,
)
"""Control events that a command led to, whose id is then their cause."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event with its place in the log."""

    sequence: int
    operation_id: str
    event: Event
    event_id: str
    time: datetime
    causation_id: str | None = None
    """Id of the command that led to it."""
    imported_from: str | None = None
    """The history file that it was imported from; None for what happened here."""


def fold(entries: Iterable[Recorded], state: Operation | None = None) -> Operation | None:
    """Return the state after all of ``entries``; None when there is no operation."""
    for entry in entries:
        state = evolve(state, entry)
    return state


def evolve(state: Operation | None, entry: Recorded) -> Operation | None:
    """Return the state after one more event; None as long as nothing was requested."""
    event = entry.event
    if state is None:
        return _requested(entry, event) if isinstance(event, events.Requested) else None
    if isinstance(event, events.Progress):
        return evolve_progress(
            state,
            entry.sequence,
            entry.time,
            unit=event.unit,
            total_units=event.total_units,
            units_per_second=event.units_per_second,
        )
    state = replace(state, facts=_position(state.facts, entry))
    match event:
        case events.Requested():
            return state  # the first one counts
        case events.CancelRequested():
            return _cancel_requested(state, event)
        case events.Resumed():
            return replace(state, facts=_resumed(state.facts, event))
        case events.CheckpointRecorded() | events.CheckpointRefused():
            return replace(state, facts=_settle(state.facts, event, entry.time))
        case events.CheckpointPinned() | events.CheckpointUnpinned():
            pinned = isinstance(event, events.CheckpointPinned)
            return replace(state, facts=_changed(state.facts, event.checkpoint_id, pinned=pinned))
        case events.CheckpointDeleted():
            facts = _changed(
                state.facts,
                event.checkpoint_id,
                status=CheckpointStatus.DELETED,
                settled_at=entry.time,
                message=event.reason,
            )
            return replace(state, facts=facts)
        case events.CheckpointContinued():
            return replace(state, facts=_continued(state.facts, event, entry.time))
        case events.Prioritized(priority=priority):
            return replace(state, facts=replace(state.facts, priority=priority))
        case events.CheckpointRequested():
            return state  # what comes of it is a checkpoint
        case events.Archived():
            return state  # it says where the events are, nothing about the operation
        case (
            events.Claimed()
            | events.Started()
            | events.StateSnapshot()
            | events.Cancelled()
            | events.Completed()
            | events.Failed()
            | events.Released()
            | events.AttemptLost()
        ):
            if isinstance(state, Cancelled | Completed | Failed):
                return state
            return evolve_run(state, event, entry.time, entry.sequence)
        case _:
            assert_never(event)


def evolve_progress(
    state: Operation,
    sequence: int,
    time: datetime,
    *,
    unit: int,
    total_units: int,
    units_per_second: float | None,
) -> Operation:
    """Return the state after progress; the state after the last of several in a row is that after all of them.

    By far the most frequent event: one copy of the facts, not several.
    """
    if is_terminal(state):
        facts = replace(state.facts, sequence=sequence, last_event_at=time, run_sequence=sequence)
        return replace(state, facts=facts)
    return replace(
        state,
        facts=replace(
            state.facts,
            sequence=sequence,
            last_event_at=time,
            run_sequence=sequence,
            unit=unit,
            total_units=total_units,
            units_per_second=units_per_second,
        ),
    )


def _requested(entry: Recorded, event: events.Requested) -> Operation:
    return Queued(
        Facts(
            operation_id=entry.operation_id,
            requested=event,
            requested_at=entry.time,
            requested_sequence=entry.sequence,
            requested_event_id=entry.event_id,
            sequence=entry.sequence,
            last_event_at=entry.time,
            control_sequence=entry.sequence,
            run_sequence=0,
            unit=event.origin.unit if event.origin else 0,
            commands={entry.causation_id: entry.event_id} if entry.causation_id else {},
            imported_from=entry.imported_from,
            priority=event.priority,
        )
    )


def _position(facts: Facts, entry: Recorded) -> Facts:
    # Where its events are kept is nothing that happened to the operation.
    time = facts.last_event_at if isinstance(entry.event, events.Archived) else entry.time
    facts = replace(facts, sequence=entry.sequence, last_event_at=time)
    if entry.event.SIDE is Side.RUN:
        return replace(facts, run_sequence=entry.sequence)
    commands = facts.commands
    if entry.causation_id is not None and isinstance(entry.event, _BY_COMMAND):
        commands = {**commands, entry.causation_id: entry.event_id}
    return replace(facts, control_sequence=entry.sequence, commands=commands)


def _resumed(facts: Facts, event: events.Resumed) -> Facts:
    """A fork is one more child; only a resume or a retry goes on in the parent's place."""
    facts = replace(facts, children=(*facts.children, event.child_id))
    if event.relation is Relation.FORK:
        return facts
    return replace(facts, child_id=event.child_id, child_checkpoint_id=event.checkpoint_id)


def _continued(facts: Facts, event: events.CheckpointContinued, time: datetime) -> Facts:
    continuation = Continuation(event.checkpoint_id, event.parent_id, event.child_id, time)
    return replace(facts, continuations=(*facts.continuations, continuation))


def _cancel_requested(state: Operation, event: events.CancelRequested) -> Operation:
    match state:
        case Queued(facts) | Running(facts):
            return Cancelling(facts, event.reason, event.at_unit, event.deadline_at)
        case Cancelling(facts, reason, at_unit, deadline_at):
            if stops_earlier(event.at_unit, at_unit):
                reason, at_unit = event.reason, event.at_unit
            if ends_earlier(event.deadline_at, deadline_at):
                reason, deadline_at = event.reason or reason, event.deadline_at
            return Cancelling(facts, reason, at_unit, deadline_at)
        case Cancelled() | Completed() | Failed():
            return state
        case _:
            assert_never(state)


def stops_earlier(at_unit: int | None, than: int | None) -> bool:
    """Say whether stopping at the one (None: at once) comes before stopping at the other."""
    if than is None:
        return False
    return at_unit is None or at_unit < than


def ends_earlier(deadline_at: datetime | None, than: datetime | None) -> bool:
    """Say whether the one deadline (None: never) comes before the other."""
    return deadline_at is not None and (than is None or deadline_at < than)


def _settle(
    facts: Facts, event: events.CheckpointRecorded | events.CheckpointRefused, time: datetime
) -> Facts:
    checkpoint = facts.checkpoints.get(event.checkpoint_id)
    if checkpoint is None or checkpoint.status is not CheckpointStatus.SAVED:
        return facts
    if isinstance(event, events.CheckpointRecorded):
        settled = replace(
            checkpoint,
            status=CheckpointStatus.RECORDED,
            settled_at=time,
            manifest_key=event.manifest_key,
            manifest_digest=event.manifest_digest,
        )
    else:
        settled = replace(
            checkpoint,
            status=CheckpointStatus.REFUSED,
            settled_at=time,
            message=event.message,
            problems=event.artifacts,
        )
    return replace(facts, checkpoints={**facts.checkpoints, event.checkpoint_id: settled})


def _changed(facts: Facts, checkpoint_id: str, **fields: Any) -> Facts:
    checkpoint = facts.checkpoints.get(checkpoint_id)
    if checkpoint is None or checkpoint.status is CheckpointStatus.DELETED:
        return facts
    changed = replace(checkpoint, **fields)
    return replace(facts, checkpoints={**facts.checkpoints, checkpoint_id: changed})
