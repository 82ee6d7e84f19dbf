"""Events in one line each, for people, and as JSON."""

import json
from collections.abc import Mapping, Sequence

from milepost_contracts import events
from milepost_contracts.lineage import Relation
from milepost_runtime.event_log import ReadEntry, UnreadableEntry

from milepost_cli.formatting import format_progress, format_rate, format_size, format_summary

SUMMARY_ITEMS_SHOWN = 4
RELATIONS = {
    Relation.RESUME: "resumed from",
    Relation.FORK: "forked from",
    Relation.RETRY: "a retry of",
}
"""What an operation is to its parent."""


def event_words(event: events.Event) -> str:
    """Return what happened, in one line."""
    words = f"{event.NAME}: {_details(event)}"
    return words.removesuffix(": ")


def entry_words(entry: ReadEntry) -> str:
    """Return what happened, or why it cannot be read, in one line."""
    if isinstance(entry, UnreadableEntry):
        return f"{entry.stored.name}: cannot be read: {entry.error.splitlines()[0]}"
    return event_words(entry.event)


def environment_words(differences: Sequence[str]) -> str | None:
    """Return what was accepted as other than when the checkpoint was saved; None when nothing was."""
    if not differences:
        return None
    return f"accepted as different, so equality is not promised: {'; '.join(differences)}"


def changes_words(changes: Sequence[Mapping[str, object]]) -> str | None:
    """Return what a fork has otherwise than its parent; None when it has nothing."""
    words = [
        f"{change['field']} {json.dumps(change['before'])} -> {json.dumps(change['after'])}"
        for change in changes
    ]
    return ", ".join(words) or None


def _details(event: events.Event) -> str:
    match event:
        case events.Requested() | events.CancelRequested() | events.Resumed():
            return _control_details(event)
        case events.CheckpointRecorded(checkpoint_id=checkpoint_id, size_bytes=size_bytes):
            return f"{checkpoint_id} is on record, {format_size(size_bytes)}"
        case events.CheckpointRefused(checkpoint_id=checkpoint_id, message=message):
            return f"{checkpoint_id}: {message}"
        case events.Prioritized(priority=priority, before=before, reason=reason):
            return f"{before} -> {priority}" + (f", {reason}" if reason else "")
        case events.CheckpointRequested(reason=reason):
            return reason or ""
        case (
            events.CheckpointPinned(checkpoint_id=checkpoint_id, reason=reason)
            | events.CheckpointUnpinned(checkpoint_id=checkpoint_id, reason=reason)
            | events.CheckpointDeleted(checkpoint_id=checkpoint_id, reason=reason)
        ):
            return f"{checkpoint_id}, {reason}" if reason else checkpoint_id
        case events.CheckpointContinued(checkpoint_id=checkpoint_id, parent_id=parent_id, child_id=child_id):
            return f"{checkpoint_id}, by {child_id}, made from {parent_id}"
        case events.Archived(events=count, history_key=key):
            return f"{count:,} events in {key}"
        case events.Claimed(attempt=attempt, worker_id=worker_id, pid=pid):
            return f"attempt {attempt} by {worker_id} (pid {pid})"
        case events.Started(
            unit=unit, total_units=total_units, unit_name=unit_name, checkpoint_id=checkpoint_id
        ):
            origin = f", from checkpoint {checkpoint_id}" if checkpoint_id else ""
            accepted = environment_words(event.environment_differences)
            return f"at {format_progress(unit, total_units, unit_name)}{origin}" + (
                f"; {accepted}" if accepted else ""
            )
        case events.Progress(unit=unit, total_units=total_units, units_per_second=rate):
            speed = f", {format_rate(rate, None)}" if rate else ""
            return f"{format_progress(unit, total_units, None)}{speed}"
        case events.StateSnapshot() as found:
            size = sum(artifact.size_bytes for artifact in found.artifacts)
            files = len(found.artifacts)
            return (
                f"checkpoint {found.checkpoint_id} at {found.unit:,} ({found.reason.value}), "
                f"{files} file{'s' if files != 1 else ''}, {format_size(size)}"
            )
        case _:
            return _ending_details(event)


def _control_details(event: events.Requested | events.CancelRequested | events.Resumed) -> str:
    match event:
        case events.Requested(kind=kind, name=name, parent_id=parent_id, origin=origin):
            words = kind if name is None else f"{kind} {name!r}"
            if parent_id is not None:
                words += f", {RELATIONS[event.relation or Relation.RESUME]} {parent_id}"
            words = f"{words} at {origin.unit:,}" if origin is not None else words
            changed = changes_words([change.model_dump() for change in event.changes])
            return f"{words}, changed: {changed}" if changed else words
        case events.CancelRequested(reason=reason, at_unit=at_unit, deadline_at=deadline_at):
            words = [f"at unit {at_unit:,}"] if at_unit is not None else []
            if deadline_at is not None:
                words.append("by force" if event.force else f"by force at {deadline_at:%H:%M:%S %Z}")
            return ", ".join([*words, *([reason] if reason else [])])
        case events.Resumed(child_id=child_id, checkpoint_id=checkpoint_id):
            how = "" if event.relation is Relation.RESUME else f"by a {event.relation.value} "
            return f"{how}as {child_id}" + (f" from checkpoint {checkpoint_id}" if checkpoint_id else "")


def _ending_details(event: events.Event) -> str:
    match event:
        case events.Cancelled(unit=unit, checkpoint_id=checkpoint_id, reason=reason):
            words = [f"at {unit:,}", checkpoint_id or "without a checkpoint", *([reason] if reason else [])]
            return ", ".join(words)
        case events.Completed(unit=unit, summary=summary):
            numbers = format_summary(summary, items_max=SUMMARY_ITEMS_SHOWN)
            return f"{unit:,} units" + (f"; {numbers}" if numbers else "")
        case events.Failed(unit=unit, failure=failure):
            return f"at {unit:,}: {failure.message}"
        case events.Released(unit=unit, reason=reason):
            return f"at {unit:,}, {reason}; another worker goes on"
        case events.AttemptLost(attempt=attempt, failure=failure):
            return f"attempt {attempt}: {failure.message}"
        case _:
            return ""
