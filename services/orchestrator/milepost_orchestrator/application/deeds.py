"""Who did what: every event and record that somebody asked for, in words, with what was before and after."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from milepost_contracts.dispatch import (
    DispatchEvent,
    DispatchPolicy,
    KindLimited,
    WorkerDrained,
    WorkerUndrained,
)
from milepost_contracts.schedules import ScheduleCreated, ScheduleFired, Timing
from milepost_contracts.upkeep import EventsRedelivered, OrphansSwept, UpkeepEvent
from milepost_runtime.record_log import Record

from milepost_orchestrator.application.dispatching import about
from milepost_orchestrator.domain.dispatch import Dispatch, RecordedDispatch, evolve_dispatch
from milepost_orchestrator.domain.schedules import RecordedSchedule, Schedule, evolve_schedule

_CHECKPOINTS: Mapping[str, tuple[str, str]] = {
    "checkpoint-pinned": ("kept by the rules", "pinned"),
    "checkpoint-unpinned": ("pinned", "kept by the rules"),
    "checkpoint-deleted": ("kept", "deleted"),
}
"""What a checkpoint was before and after each of its events."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was asked for, and by whom."""

    at: datetime
    what: str
    requested_by: str
    reason: str | None = None
    operation_id: str | None = None
    about: str | None = None
    """What it was about beside an operation: a kind, a checkpoint, a schedule."""
    before: str | None = None
    after: str | None = None


def before_and_after(name: str, data: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return in words what an event of an operation changed; None for what it does not tell.

    ``data`` is the event's, maybe of an older version.
    """
    match name:
        case "requested":
            parent = data.get("parent_id")
            return None, f"{data['kind']} queued" + (f", from {parent}" if parent else "")
        case "cancel-requested":
            return data.get("before"), _cancelling(data)
        case "prioritized":
            return f"priority {data['before']}", f"priority {data['priority']}"
        case "resumed":
            return None, f"{data.get('relation', 'resume')}: {data['child_id']}"
        case "checkpoint-requested":
            return None, "a checkpoint at the next unit"
        case _:
            return _CHECKPOINTS.get(name, (None, None))


def dispatch_deeds(recorded: Iterable[RecordedDispatch]) -> list[Deed]:
    """Return what was changed about dispatch."""
    deeds: list[Deed] = []
    state = Dispatch()
    for each in recorded:
        before, state = state.policy, evolve_dispatch(state, each)
        event = each.event
        deeds.append(
            Deed(
                at=each.time,
                what=f"dispatch {event.NAME}",
                requested_by=event.requested_by,
                reason=event.reason,
                about=about(event),
                before=_dispatch_words(event, before),
                after=_dispatch_words(event, state.policy),
            )
        )
    return deeds


def schedule_deeds(recorded: Iterable[RecordedSchedule]) -> list[Deed]:
    """Return what people did about schedules; what a schedule started is told by the operations."""
    deeds: list[Deed] = []
    states: dict[str, Schedule | None] = {}
    for each in recorded:
        before = states.get(each.schedule_id)
        after = states[each.schedule_id] = evolve_schedule(before, each)
        event = each.event
        if isinstance(event, ScheduleFired):
            continue
        created = isinstance(event, ScheduleCreated)
        deeds.append(
            Deed(
                at=each.time,
                what=f"schedule {event.NAME}",
                requested_by=event.requested_by,
                reason=event.reason,
                about=(after.created.name if after is not None else None) or each.schedule_id,
                before=None if before is None else before.state.value,
                after=timing_words(event.timing) if created else None if after is None else after.state.value,
            )
        )
    return deeds


def upkeep_deed(record: Record, event: UpkeepEvent) -> Deed:
    """Return what was done to the stack itself."""
    match event:
        case EventsRedelivered():
            before, after = f"{event.before} set aside", f"{event.after} set aside"
            operation_id = event.operation_id
        case OrphansSwept():
            before, after = f"{event.removed} orphans, {event.removed_bytes:,} bytes", "none of them"
            operation_id = None
        case _:
            assert_never(event)
    return Deed(
        at=record.envelope.time,
        what=event.NAME,
        requested_by=event.requested_by,
        reason=event.reason,
        operation_id=operation_id,
        before=before,
        after=after,
    )


def timing_words(timing: Timing) -> str:
    """Return when a schedule starts something."""
    return f"at {timing.at.isoformat()}" if timing.at is not None else f"{timing.cron} {timing.time_zone}"


def _cancelling(data: Mapping[str, Any]) -> str:
    if data.get("force"):
        return "cancelled by force"
    at_unit = data.get("at_unit")
    return "cancelling" if at_unit is None else f"cancelling at unit {at_unit:,}"


def _dispatch_words(event: DispatchEvent, policy: DispatchPolicy) -> str:
    """Return what holds of that which an event is about."""
    if isinstance(event, KindLimited):
        limit = policy.limits.get(event.kind)
        return "no limit" if limit is None else f"{limit} at a time"
    if isinstance(event, WorkerDrained | WorkerUndrained):
        drain = policy.drained_workers.get(event.worker_id)
        return "takes work" if drain is None else drain.in_words()
    hold = policy.held if event.kind is None else policy.held_kinds.get(event.kind)
    return "given out" if hold is None else hold.in_words()
