"""Batches of the log into rows: the same rows however the log is cut, and nothing read twice."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_contracts.events import Event, Progress
from milepost_contracts.messages import encode, envelop_event
from milepost_orchestrator.application.batch_projection import BatchProjection
from milepost_orchestrator.application.projections import project
from milepost_orchestrator.application.state_cache import StateCache
from milepost_runtime.event_log import BatchEntry, LogEntry, ProgressEntry
from milepost_runtime.progress_entries import progress_entry
from milepost_runtime.testing.event_log import MemoryEventLog

from tests.orchestrator.stories import (
    EPOCH,
    attempt_lost,
    cancel_requested,
    cancelled,
    claimed,
    completed,
    failed,
    log_entries,
    progress,
    recorded_checkpoint,
    released,
    requested,
    snapshot,
    started,
)
from tests.support.memory_rows import Rows

pytestmark = pytest.mark.unit


def test_states_are_kept_by_how_many_there_are_and_how_large_they_are() -> None:
    """Many small ones, few with many checkpoints; the one that was heard of last in any case."""
    cache = StateCache(operations_max=5, parts_max=20)
    for number in range(9):
        project(cache, story_of(f"op-{number}", checkpoints=1))
        cache.trim()
    assert [f"op-{number}" in cache for number in range(9)] == [False] * 4 + [True] * 5
    project(cache, story_of("op-large", checkpoints=14))
    cache.trim()
    assert [f"op-{number}" in cache for number in range(9)] == [False] * 7 + [True] * 2
    project(cache, story_of("op-huge", checkpoints=50))
    cache.trim()
    assert [each in cache for each in ("op-8", "op-large", "op-huge")] == [False, False, True]
    project(cache, story_of("op-small", checkpoints=0))
    cache.trim()
    assert [each in cache for each in ("op-huge", "op-small")] == [False, True]


def test_states_of_ended_operations_are_kept_least() -> None:
    """Beyond a few the first that ended goes, while those that run stay."""
    cache = StateCache(operations_max=5, ended_max=2)
    for number in range(3):
        project(cache, [*story_of(f"op-{number}", checkpoints=1), *ended(f"op-{number}")])
        project(cache, story_of(f"op-{number}-runs", checkpoints=1))
        cache.trim()
    assert [f"op-{number}" in cache for number in range(3)] == [False, True, True]
    assert all(f"op-{number}-runs" in cache for number in range(3))


def ended(operation_id: str) -> list[LogEntry]:
    return log_entries(requested(operation_id), completed(), operation_id=operation_id)[1:]


def story_of(operation_id: str, *, checkpoints: int) -> list[LogEntry]:
    """One attempt with so many checkpoints."""
    saved = [snapshot(f"cp-{number}", number) for number in range(checkpoints)]
    return log_entries(requested(operation_id), claimed(), started(), *saved, operation_id=operation_id)


AFTER_THE_BEGINNING: tuple[Event, ...] = (
    progress(10),
    progress(20),
    Progress(attempt=1, unit=30, total_units=200),
    Progress(attempt=2**40, unit=31, total_units=200, metrics={"loss": 1.0}),  # no column holds its attempt
    claimed(),
    claimed(2, "w-2"),
    started(),
    snapshot("cp-1", 25),
    snapshot("cp-2", 35),
    recorded_checkpoint("cp-1"),
    cancel_requested(),
    released(),
    attempt_lost(),
    cancelled(),
    completed(),
    failed(),
)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["op-1", "op-2"]), st.sampled_from(AFTER_THE_BEGINNING)), max_size=30
)


def logged(told: Sequence[tuple[str, Event]]) -> list[LogEntry]:
    first = [("op-1", requested("op-1")), ("op-2", requested("op-2"))]
    return [
        LogEntry(
            sequence,
            operation_id,
            envelop_event(
                event, event_id=f"e-{sequence}", operation_id=operation_id, source="/worker/w-1", time=EPOCH
            ),
            event,
        )
        for sequence, (operation_id, event) in enumerate([*first, *told], 1)
    ]


def quick(entry: LogEntry) -> BatchEntry:
    if not isinstance(entry.event, Progress):
        return entry
    found = progress_entry(entry.sequence, entry.operation_id, encode(entry.envelope))
    assert found is not None
    return found


@given(EVENTS, st.integers(1, 40))
def test_rows_are_the_same_however_the_log_is_cut(told: list[tuple[str, Event]], size: int) -> None:
    """Event by event in the ordinary form, or in batches whose progress is folded only where it matters."""
    entries = logged(told)
    one, other = Rows(), Rows()
    cache = StateCache()
    for entry in entries:
        one.take(project(cache, [entry]))
    cache = StateCache()
    for first in range(0, len(entries), size):
        other.take(project(cache, [quick(entry) for entry in entries[first : first + size]]))
    assert other.tables == one.tables
    assert other.cursor_sequence == one.cursor_sequence


async def test_operation_that_begins_in_a_batch_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its events are all there; only one that began before is read from the log, and only once."""
    event_log, rows = MemoryEventLog(), Rows()
    looked_up: list[str] = []
    stored = event_log.stored

    def noted(operation_id: str, *, after_sequence: int = 0):
        looked_up.append(operation_id)
        return stored(operation_id, after_sequence=after_sequence)

    monkeypatch.setattr(event_log, "stored", noted)
    entries = logged([("op-2", progress(5)), ("op-1", claimed()), ("op-1", progress(10))])
    event_log.entries += entries
    batch = [quick(entry) for entry in entries]
    assert isinstance(batch[-1], ProgressEntry)
    projection = BatchProjection(event_log, rows)
    rows.take(await projection.fold(batch))
    assert looked_up == []
    again = BatchProjection(event_log, Rows())
    later = await again.fold(batch[1:])
    assert looked_up == ["op-1"]
    assert [row for row in later.operations if row.operation_id == "op-1"] == [
        rows.tables["operations"]["op-1"]
    ]


async def test_state_that_was_forgotten_is_folded_without_what_was_set_aside_since() -> None:
    """An operation pushed out of the cache comes back as it was, not with the event that was refused."""
    spoilt = snapshot("cp-9", 99).model_copy(update={"attempt": 2**40})
    entries = logged([("op-1", claimed()), ("op-1", spoilt), ("op-2", claimed()), ("op-1", progress(10))])
    event_log, rows = MemoryEventLog(), Rows()
    event_log.entries += entries
    projection = BatchProjection(event_log, rows, operations_max=1)
    for entry in entries:
        rows.take(await projection.fold([entry]))
    kept = Rows()
    kept.take(project(StateCache(), entries))
    assert rows.tables == kept.tables
    assert rows.tables["operations"]["op-1"].checkpoint_id is None
