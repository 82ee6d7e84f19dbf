"""One moment of an operation's past: an event, the state after it, and what it changed. Nothing is written."""

from collections.abc import AsyncIterable
from dataclasses import dataclass

from milepost_runtime.event_log import BatchEntry, ProgressEntry, ReadEntry, StoredEvent
from milepost_runtime.history.differences import Difference, differences
from milepost_runtime.stored_events import read_entry

from milepost_orchestrator.application.documents import Document
from milepost_orchestrator.application.folding import Folding
from milepost_orchestrator.application.replaying import earlier_document, state_document
from milepost_orchestrator.application.waymarks import Waymark


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


@dataclass(frozen=True, slots=True)
class Extent:
    """How many events an operation has, and where the first and the last one are."""

    count: int
    first_sequence: int
    last_sequence: int


async def moment_of(
    stored: AsyncIterable[StoredEvent],
    *,
    sequence: int | None = None,
    number: int | None = None,
    begin: Waymark | None = None,
    extent: Extent | None = None,
) -> Moment | None:
    """Return the last event up to a sequence, or the one of a number; the newest when neither is given.

    From the first event, or from those after the waymark ``begin``; what is out of range is the first or the last
    one, and None when there is none. With an ``extent`` no more is read than one event beyond the moment.
    """
    folding = Folding(begin)
    previous_sequence, next_sequence = 0, 0
    entry: BatchEntry | None = None
    sequences = Extent(0, 0, 0)
    async for each in stored:
        sequences = Extent(
            (sequences.count or folding.number) + 1, sequences.first_sequence or each.sequence, each.sequence
        )
        is_wanted = (sequence is None or each.sequence <= sequence) and (
            number is None or folding.number < number
        )
        if entry is None or is_wanted:
            previous_sequence = folding.sequence
            entry = folding.take(each)
            continue
        next_sequence = next_sequence or each.sequence
        if extent is not None:
            break
    if entry is None:
        return None
    return _moment(folding, entry, extent or sequences, previous_sequence, next_sequence)


def _moment(
    folding: Folding, entry: BatchEntry, extent: Extent, previous_sequence: int, next_sequence: int
) -> Moment:
    before, after = folding.before.settled(), folding.now.settled()
    new = state_document(after) if after is not None else None
    old = earlier_document(before, after, new) if before is not None else None
    return Moment(
        number=folding.number,
        count=max(extent.count, folding.number),
        entry=read_entry(entry.stored) if isinstance(entry, ProgressEntry) else entry,
        state=new,
        changes=tuple(differences(old or {}, new or {})),
        first_sequence=extent.first_sequence,
        previous_sequence=previous_sequence or None,
        next_sequence=next_sequence or None,
        last_sequence=max(extent.last_sequence, folding.sequence, next_sequence),
    )
