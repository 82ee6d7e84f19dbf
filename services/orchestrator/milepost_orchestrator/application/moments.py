"""One moment of an operation's past: an event, the state after it, and what it changed. Nothing is written."""

from collections.abc import AsyncIterable
from dataclasses import dataclass

from milepost_runtime.event_log import LogEntry, ReadEntry, StoredEvent
from milepost_runtime.history.differences import Difference, differences
from milepost_runtime.stored_events import read_entry

from milepost_orchestrator.application.documents import Document
from milepost_orchestrator.application.operations import recorded
from milepost_orchestrator.application.replaying import state_document
from milepost_orchestrator.domain.evolution import evolve
from milepost_orchestrator.domain.operation import Operation


@dataclass(frozen=True, slots=True)
class Moment:
    """An event among all of its operation."""

    number: int
    """From 1."""
    count: int
    entry: ReadEntry
    state: Document | None
    """After it; None as long as nothing was requested."""
    changes: tuple[Difference, ...]
    first_sequence: int
    previous_sequence: int | None
    next_sequence: int | None
    last_sequence: int


async def moment_of(
    stored: AsyncIterable[StoredEvent], *, sequence: int | None = None, number: int | None = None
) -> Moment | None:
    """Return the last event up to a sequence, or the one of a number; the newest when neither is given.

    What is out of range is the first or the last one; None when there are no events. Takes time in proportion to
    the events up to the moment; those after it are counted, not read.
    """
    before: Operation | None = None
    after: Operation | None = None
    entry: ReadEntry | None = None
    found, sequences = 0, list[int]()
    async for each in stored:
        sequences.append(each.sequence)
        is_wanted = (sequence is None or each.sequence <= sequence) and (
            number is None or len(sequences) <= number
        )
        if entry is not None and not is_wanted:
            continue
        found, entry, before = len(sequences), read_entry(each), after
        if isinstance(entry, LogEntry):
            after = evolve(after, recorded(entry))
    if entry is None:
        return None
    old, new = (state_document(state) if state is not None else None for state in (before, after))
    return Moment(
        number=found,
        count=len(sequences),
        entry=entry,
        state=new,
        changes=tuple(differences(old or {}, new or {})),
        first_sequence=sequences[0],
        previous_sequence=sequences[found - 2] if found > 1 else None,
        next_sequence=sequences[found] if found < len(sequences) else None,
        last_sequence=sequences[-1],
    )
