"""Replay without servers: steps, filters, past states, import into another log."""

import asyncio
from datetime import timedelta

import pytest
from milepost_contracts.events import Archived, Side
from milepost_orchestrator.application.replaying import EventFilter, state_as_of, steps
from milepost_runtime.errors import EventDamagedError, HistoryConflictError, HistoryDamagedError
from milepost_runtime.event_log import StoredEvent
from milepost_runtime.history.importing import import_history
from milepost_runtime.stored_events import read_entry
from milepost_runtime.testing.event_log import MemoryEventLog

from tests.history.stored import stored_story
from tests.orchestrator.stories import (
    EPOCH,
    OPERATION,
    archived,
    cancelled,
    claimed,
    log_entries,
    progress,
    requested,
    resumed,
    snapshot,
    started,
)
from tests.orchestrator.workshop import Workshop

pytestmark = pytest.mark.unit
STORY = stored_story(requested(), claimed(), started(), progress(5), snapshot(), cancelled(), resumed())
FUTURE = StoredEvent(9, OPERATION, Side.RUN, "later", b'{"type":"milepost.operation.later.v9"}')
DIGEST = "sha256:" + "a" * 64


async def each(events=STORY):
    for stored in events:
        yield stored


def test_every_step_says_what_changed() -> None:
    """After each event the state and exactly the fields that it changed are told."""
    found = list(steps(read_entry(stored) for stored in STORY))
    changed = [{change.path: change.after for change in step.changes} for step in found]
    assert changed[0]["status"] == "queued"
    assert changed[1]["status"] == "running"
    assert changed[1]["attempts.1.worker_id"] == "w-1"
    assert changed[3].pop("last_event_at") == "2026-11-23T00:00:04+00:00"
    assert changed[3] == {"unit": 5, "sequence": 4, "units_per_second": 10.0, "eta_seconds": 9.5}
    assert changed[4]["checkpoints.cp-1.status"] == "saved"
    assert changed[5]["status"] == "cancelled"
    assert found[-1].state["child_id"] is not None


def test_event_that_cannot_be_read_is_a_step_without_a_change() -> None:
    """A newer event is shown in its place and passed over."""
    found = list(steps(read_entry(stored) for stored in [*STORY, FUTURE]))
    assert found[-1].changes == ()
    assert found[-1].state == found[-2].state
    assert "cannot" in found[-1].entry.error or "field required" in found[-1].entry.error.lower()


async def test_state_as_of_a_sequence_and_of_a_time() -> None:
    """Both are included; before the first event there is no state; what cannot be read is named."""
    assert (await state_as_of(each(), sequence=0)).state is None
    early = await state_as_of(each(), sequence=3)
    assert (early.sequence, early.events, early.state.facts.unit) == (3, 3, 0)
    at = await state_as_of(each(), time=EPOCH + timedelta(seconds=4))
    assert (at.sequence, at.state.facts.unit) == (4, 5)
    whole = await state_as_of(each([*STORY, FUTURE]))
    assert whole.sequence == 7
    assert [entry.sequence for entry in whole.unreadable] == [9]


@pytest.mark.parametrize(
    ("wanted", "sequences"),
    [
        (EventFilter(), [1, 2, 3, 4, 5, 6, 7, 9]),
        (EventFilter(progress=False), [1, 2, 3, 5, 6, 7, 9]),
        (EventFilter(names=frozenset({"progress", "claimed"}), progress=False), [2, 4]),
        (EventFilter(side=Side.CONTROL), [1, 7]),
        (EventFilter(first_sequence=3, last_sequence=5), [3, 4, 5]),
        (EventFilter(since=EPOCH + timedelta(seconds=6)), [6, 7, 9]),
        (EventFilter(until=EPOCH + timedelta(seconds=2)), [1, 2, 9]),
    ],
)
def test_filters(wanted: EventFilter, sequences: list[int]) -> None:
    """Type, side, time and sequence choose; an event without a readable time is never hidden by a time."""
    entries = [read_entry(stored) for stored in [*STORY, FUTURE]]
    assert [entry.sequence for entry in entries if wanted.takes(entry)] == sequences


async def test_import_copies_and_marks_every_event() -> None:
    """Ids, times and data are kept, the file is named in each event, and a second import writes nothing."""
    log = MemoryEventLog()
    done = await import_history(log, STORY, imported_from=DIGEST)
    assert (done.operations, done.events_written, done.events_present) == (1, 7, 0)
    assert {entry.envelope.importedfrom for entry in log.entries} == {DIGEST}
    originals = [read_entry(stored).envelope for stored in STORY]
    assert [entry.envelope.model_copy(update={"importedfrom": None}) for entry in log.entries] == originals
    again = await import_history(log, STORY, imported_from="sha256:" + "b" * 64)
    assert (again.events_written, again.events_present) == (0, 7)
    assert len(log.entries) == 7


async def test_import_leaves_out_where_another_log_has_put_its_events() -> None:
    """In another store no such file is; and an operation that is archived here is the same as before."""
    log = MemoryEventLog()
    moved = stored_story(requested(), claimed(), started(), progress(5), snapshot(), cancelled(), archived())
    done = await import_history(log, moved, imported_from=DIGEST)
    assert [entry.event.NAME for entry in log.entries].count("archived") == 0
    assert (done.events_written, len(log.entries)) == (6, 6)
    (here,) = log_entries(archived(last_sequence=6), first_sequence=7)
    await log.append(here.envelope, Archived, expected_sequence=1)
    again = await import_history(log, moved, imported_from=DIGEST)
    assert (again.events_written, again.events_present) == (0, 6)


async def test_import_that_broke_off_is_finished() -> None:
    """After a crash in the middle the same file brings the rest."""
    log = MemoryEventLog()
    await import_history(log, STORY[:4], imported_from=DIGEST)
    done = await import_history(log, STORY, imported_from=DIGEST)
    assert (done.events_written, done.events_present) == (3, 4)
    assert len(log.entries) == 7


async def test_dry_run_writes_nothing() -> None:
    """It says what would be written."""
    log = MemoryEventLog()
    done = await import_history(log, STORY, imported_from=DIGEST, dry_run=True)
    assert (done.events_written, log.entries) == (7, [])


async def test_import_over_other_events_is_refused_before_anything_is_written() -> None:
    """An operation that exists with another past, or lives here, stays as it is; so do all others of the file."""
    log = MemoryEventLog()
    other = stored_story(requested(), claimed(1, "w-9"), started())
    await import_history(log, other, imported_from=DIGEST)
    second = stored_story(
        requested("op-cccccccccccccccc"), operation_id="op-cccccccccccccccc", first_sequence=20
    )
    with pytest.raises(HistoryConflictError, match="claimed"):
        await import_history(log, [*STORY, *second], imported_from=DIGEST)
    assert len(log.entries) == 3


async def test_import_onto_a_living_operation_is_refused(workshop: Workshop) -> None:
    """What was exported later cannot be appended to the operation in its own stack."""
    started_here = await workshop.start()
    stored = [s async for s in workshop.event_log.stored(started_here.operation_id)]
    more = stored_story(requested(), claimed(), operation_id=started_here.operation_id)[1]
    with pytest.raises(HistoryConflictError, match="lives here"):
        await import_history(workshop.event_log, [*stored, more], imported_from=DIGEST)
    whole = await import_history(workshop.event_log, stored, imported_from=DIGEST)
    assert whole.events_written == 0


@pytest.mark.parametrize(
    ("events", "error"),
    [
        (STORY[1:], HistoryDamagedError),
        ([*STORY, FUTURE], EventDamagedError),
        ([StoredEvent(1, "op-x", Side.CONTROL, "requested", STORY[0].payload)], HistoryDamagedError),
    ],
)
async def test_history_that_is_not_whole_is_refused(
    events: list[StoredEvent], error: type[Exception]
) -> None:
    """A missing beginning, an event that cannot be read, an envelope of another operation."""
    log = MemoryEventLog()
    with pytest.raises(error):
        await import_history(log, events, imported_from=DIGEST)
    assert log.entries == []


@pytest.fixture
async def workshop(tmp_path) -> Workshop:
    return await Workshop(tmp_path).open()


@pytest.mark.parametrize("length", [1, 2, 3, 7])
async def test_nothing_follows_from_imported_events(workshop: Workshop, length: int) -> None:
    """An unfinished, an owned and a resumed operation are never dispatched, and commands to them are refused."""
    await import_history(workshop.event_log, STORY[:length], imported_from=DIGEST)
    await workshop.effects.dispatch(OPERATION)
    await workshop.effects.cancel(OPERATION)
    assert not await workshop.has_work(OPERATION)
    for answer in (await workshop.cancel(OPERATION), await workshop.resume(OPERATION)):
        assert answer.verdict == "rejected"
        assert "imported" in answer.message
    assert len(workshop.event_log.entries) == length
    await asyncio.sleep(0)
