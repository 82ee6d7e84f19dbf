"""Replay: an operation's state after each of its events, and what each one changed. Pure; nothing is written."""

from collections.abc import AsyncIterable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from milepost_contracts.events import Side
from milepost_runtime.event_log import LogEntry, ReadEntry, StoredEvent, UnreadableEntry
from milepost_runtime.history.differences import Difference, differences

from milepost_orchestrator.application.documents import Document, operation_detail, rows_of
from milepost_orchestrator.application.folding import Folding, is_after
from milepost_orchestrator.application.operations import recorded
from milepost_orchestrator.application.waymarks import Waymark
from milepost_orchestrator.domain.evolution import evolve
from milepost_orchestrator.domain.operation import Operation


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events; what is None or empty does not matter."""

    names: frozenset[str] = frozenset()
    side: Side | None = None
    progress: bool = True
    since: datetime | None = None
    until: datetime | None = None
    first_sequence: int | None = None
    last_sequence: int | None = None

    def takes(self, entry: ReadEntry) -> bool:
        """Say whether the entry is wanted; one that cannot be read has no time and is wanted at any."""
        side, name = place_of(entry)
        if (self.names and name not in self.names) or (self.side is not None and side != self.side):
            return False
        if not self.progress and name == "progress" and name not in self.names:
            return False
        if self.first_sequence is not None and entry.sequence < self.first_sequence:
            return False
        if self.last_sequence is not None and entry.sequence > self.last_sequence:
            return False
        return isinstance(entry, UnreadableEntry) or self._takes_time(entry.envelope.time)

    def _takes_time(self, time: datetime) -> bool:
        return (self.since is None or time >= self.since) and (self.until is None or time <= self.until)


def place_of(entry: ReadEntry) -> tuple[Side, str]:
    """Return side and name of an event, read or not."""
    if isinstance(entry, UnreadableEntry):
        return entry.stored.side, entry.stored.name
    return entry.event.SIDE, entry.event.NAME


@dataclass(frozen=True, slots=True)
class Step:
    """One event, the state after it, and what it changed."""

    number: int
    """From 1."""
    entry: ReadEntry
    state: Document | None
    """None as long as nothing was requested."""
    changes: tuple[Difference, ...]


def steps(entries: Iterable[ReadEntry]) -> Iterator[Step]:
    """Yield a step for each event; one that cannot be read changes nothing."""
    state: Operation | None = None
    before: Document | None = None
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, LogEntry):
            state = evolve(state, recorded(entry))
        after = state_document(state) if state is not None else None
        changes = tuple(differences(before or {}, after or {}))
        yield Step(number, entry, after, changes)
        before = after


def state_document(state: Operation) -> Document:
    """Return the state as clients see it, attempts and checkpoints by their names and so comparable."""
    document = operation_detail(rows_of(state))
    attempts, checkpoints = document.pop("attempts"), document.pop("checkpoints")
    return {
        **document,
        "sequence": state.facts.sequence,
        "attempts": {str(each["attempt"]): each for each in attempts},
        "checkpoints": {each["checkpoint_id"]: each for each in reversed(checkpoints)},
    }


def earlier_document(before: Operation, after: Operation | None, document: Document | None) -> Document:
    """Return ``state_document(before)``; of checkpoints that ``after`` has too its document is taken."""
    if after is None or document is None or before.facts.unit_name != after.facts.unit_name:
        return state_document(before)
    kept, made = before.facts.checkpoints, document["checkpoints"]
    same = {key for key, each in after.facts.checkpoints.items() if key in made and kept.get(key) is each}
    others = {key: each for key, each in kept.items() if key not in same}
    found = state_document(replace(before, facts=replace(before.facts, checkpoints=others)))
    shown = found["checkpoints"]
    checkpoints = {
        key: made[key] if key in same else shown[key] for key in kept if key in same or key in shown
    }
    newest = before.facts.newest_kept
    return {
        **found,
        "checkpoint_id": before.facts.shown_checkpoint_id,
        "newest_checkpoint_at": newest.saved_at.isoformat() if newest is not None else None,
        "checkpoints": checkpoints,
    }


@dataclass(frozen=True, slots=True)
class PastState:
    """The state as of some moment."""

    state: Operation | None
    sequence: int
    """The last event that is in it, 0 for none."""
    events: int
    unreadable: tuple[UnreadableEntry, ...] = ()
    """Events that could not be read and are not in it."""


async def state_as_of(
    stored: AsyncIterable[StoredEvent],
    *,
    sequence: int | None = None,
    time: datetime | None = None,
    begin: Waymark | None = None,
) -> PastState:
    """Fold an operation's events up to a sequence or a time, both included; all of them when neither is given.

    From the first one, or from those after the waymark ``begin``, which must not be beyond what is asked for.
    """
    folding = Folding(begin)
    async for each in stored:
        if sequence is not None and each.sequence > sequence:
            break
        if time is not None and is_after(each, time):
            break
        folding.take(each)
    unreadable = tuple(folding.unreadable)
    count = folding.number - len(unreadable)
    return PastState(folding.now.settled(), folding.readable_sequence, count, unreadable)


def event_document(entry: ReadEntry) -> Document:
    """Return the JSON form of an event: position, time, name, and its data as on the bus."""
    if isinstance(entry, UnreadableEntry):
        return {
            "sequence": entry.sequence,
            "operation_id": entry.operation_id,
            "side": entry.stored.side.value,
            "event": entry.stored.name,
            "unreadable": entry.error,
            "payload": entry.stored.payload.decode(errors="replace"),
        }
    envelope = entry.envelope
    return {
        "sequence": entry.sequence,
        "time": envelope.time.isoformat(),
        "operation_id": entry.operation_id,
        "side": entry.event.SIDE.value,
        "event": entry.event.NAME,
        "type": envelope.type,
        "id": envelope.id,
        "source": envelope.source,
        "causation_id": envelope.causationid,
        "imported_from": envelope.importedfrom,
        "data": envelope.data,
    }
