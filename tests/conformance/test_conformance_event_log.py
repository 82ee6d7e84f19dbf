"""What every event log must do: one suite, run against the double and against JetStream."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from milepost_contracts.errors import SubjectError
from milepost_contracts.events import CancelRequested, Claimed, Completed, Event, Progress, Side
from milepost_runtime.bus import event_log
from milepost_runtime.bus.event_log import JetStreamEventLog
from milepost_runtime.errors import SequenceConflictError
from milepost_runtime.event_log import EventLog, LogEntry
from milepost_runtime.history.archive import HistoryArchive
from milepost_runtime.history.archived_log import ArchivedEventLog
from milepost_runtime.store.directory import DirectoryArtifactStore
from milepost_runtime.testing.event_log import MemoryEventLog

from tests.runtime_bus.bus_support import (
    CANCEL_REQUESTED,
    CLAIMED,
    COMPLETED,
    REQUESTED,
    Bus,
    append,
    append_many,
    progress,
)

WAIT_SECONDS = 20.0


async def take(entries: AsyncIterator[LogEntry], count: int) -> list[LogEntry]:
    """The next ``count`` entries."""
    async with asyncio.timeout(WAIT_SECONDS):
        return [await anext(entries) for _ in range(count)]


def events(entries: list[LogEntry]) -> list[Event]:
    return [entry.event for entry in entries]


class EventLogConformance:
    """The suite; a subclass brings the ``log`` fixture."""

    async def test_what_is_appended_is_read(self, log: EventLog) -> None:
        """Events of both sides come back in order, typed, with their positions."""
        first = await append(log, REQUESTED, "e1", expected=0)
        second = await append(log, CLAIMED, "e2", expected=0)
        third = await append(log, progress(5, loss=0.25), "e3", expected=second)
        entries = await log.read_operation("op-1")
        assert [entry.sequence for entry in entries] == [first, second, third]
        assert events(entries) == [REQUESTED, CLAIMED, progress(5, loss=0.25)]
        assert [entry.envelope.id for entry in entries] == ["e1", "e2", "e3"]
        assert [entry.envelope.sequence for entry in entries] == [str(entry.sequence) for entry in entries]
        assert {entry.operation_id for entry in entries} == {"op-1"}

    async def test_nan_and_infinity_come_back(self, log: EventLog) -> None:
        """Floats that JSON has no word for survive."""
        await append(log, progress(1, loss=math.nan, best=math.inf, worst=-math.inf), "e1", expected=0)
        (entry,) = await log.read_operation("op-1")
        assert isinstance(entry.event, Progress)
        assert math.isnan(entry.event.metrics["loss"])
        assert (entry.event.metrics["best"], entry.event.metrics["worst"]) == (math.inf, -math.inf)

    async def test_unknown_operation_has_no_events(self, log: EventLog) -> None:
        """An operation that nobody asked for reads as nothing at all."""
        await append(log, CLAIMED, "e1", expected=0)
        assert await log.read_operation("op-2") == []
        assert await log.last_sequence("op-2", Side.RUN) == 0

    async def test_name_that_is_no_token_is_refused(self, log: EventLog) -> None:
        """An operation id that would change the meaning of a subject is never written."""
        with pytest.raises(SubjectError):
            await append(log, CLAIMED, "e1", expected=0, operation_id="op.*")

    async def test_wrong_expectation_is_a_conflict(self, log: EventLog) -> None:
        """Whoever has not seen the last event of a side cannot append to it."""
        first = await append(log, CLAIMED, "e1", expected=0)
        with pytest.raises(SequenceConflictError):
            await append(log, progress(1), "e2", expected=0)
        with pytest.raises(SequenceConflictError):
            await append(log, progress(1), "e3", expected=first + 1)
        assert events(await log.read_operation("op-1")) == [CLAIMED]

    async def test_sides_do_not_disturb_each_other(self, log: EventLog) -> None:
        """An orchestrator's event does not fence the worker, nor the other way round."""
        control = await append(log, REQUESTED, "e1", expected=0)
        run = await append(log, CLAIMED, "e2", expected=0)
        control = await append(log, CANCEL_REQUESTED, "e3", expected=control)
        run = await append(log, progress(1), "e4", expected=run)
        assert await log.last_sequence("op-1", Side.CONTROL) == control
        assert await log.last_sequence("op-1", Side.RUN) == run

    async def test_operations_do_not_disturb_each_other(self, log: EventLog) -> None:
        """The expectation is about one operation, however many others there are."""
        await append_many(log, 3, operation_id="op-1")
        await append_many(log, 2, operation_id="op-2")
        assert len(await log.read_operation("op-1")) == 3
        assert len(await log.read_operation("op-2")) == 2

    async def test_repeated_append_is_recognised(self, log: EventLog) -> None:
        """A retry after a lost answer returns the first position and writes nothing."""
        first = await append(log, CLAIMED, "e1", expected=0)
        assert await append(log, CLAIMED, "e1", expected=0) == first
        assert len(await log.read_operation("op-1")) == 1

    async def test_repeated_append_is_recognised_behind_others(self, log: EventLog) -> None:
        """A retry finds its own event also when someone else has appended after it."""
        first = await append(log, CANCEL_REQUESTED, "mine", expected=0)
        await append(log, CANCEL_REQUESTED, "theirs", expected=first)
        assert await append(log, CANCEL_REQUESTED, "mine", expected=0) == first
        assert len(await log.read_operation("op-1")) == 2

    async def test_same_id_at_a_newer_expectation_writes_nothing(self, log: EventLog) -> None:
        """An event is in the log once, whatever its writer expects the second time."""
        first = await append(log, CLAIMED, "e1", expected=0)
        second = await append(log, progress(1), "e2", expected=first)
        assert await append(log, CLAIMED, "e1", expected=second) == first
        assert len(await log.read_operation("op-1")) == 2

    async def test_one_of_many_racing_writers_wins(self, log: EventLog) -> None:
        """Of twenty writers that expect the same, one appends and nineteen are refused."""
        results = await asyncio.gather(
            *(append(log, CLAIMED, f"e{number}", expected=0) for number in range(20)), return_exceptions=True
        )
        won = [result for result in results if isinstance(result, int)]
        assert len(won) == 1
        assert sum(isinstance(result, SequenceConflictError) for result in results) == 19
        (entry,) = await log.read_operation("op-1")
        assert entry.sequence == won[0]

    async def test_same_event_appended_by_two_at_once(self, log: EventLog) -> None:
        """Two that write the same event at the same moment both get its one position."""
        first, second = await asyncio.gather(
            append(log, CLAIMED, "e1", expected=0), append(log, CLAIMED, "e1", expected=0)
        )
        assert first == second
        assert len(await log.read_operation("op-1")) == 1

    async def test_replaced_owner_is_fenced(self, log: EventLog) -> None:
        """After another worker's claim the old owner's next event is refused, and stays refused."""
        old = await append(log, CLAIMED, "claim-1", expected=0)
        old = await append(log, progress(1), "p1", expected=old)
        new = await append(log, CLAIMED.model_copy(update={"attempt": 2}), "claim-2", expected=old)
        for attempt in range(3):
            with pytest.raises(SequenceConflictError):
                await append(log, progress(2), f"late-{attempt}", expected=old)
        assert await append(log, progress(2), "p2", expected=new) > new

    async def test_one_side_is_read(self, log: EventLog) -> None:
        """A reader of the control side gets nothing of the run side."""
        await append(log, REQUESTED, "e1", expected=0)
        await append(log, CLAIMED, "e2", expected=0)
        assert events(await log.read_operation("op-1", side=Side.CONTROL)) == [REQUESTED]
        assert events(await log.read_operation("op-1", side=Side.RUN)) == [CLAIMED]

    async def test_types_are_left_out(self, log: EventLog) -> None:
        """What a decision does not need is not read."""
        await append(log, REQUESTED, "e1", expected=0)
        claimed = await append(log, CLAIMED, "e2", expected=0)
        last = await append_many(log, 5, expected=claimed)
        await append(log, COMPLETED, "e4", expected=last)
        assert events(await log.read_operation("op-1", without=(Progress,))) == [
            REQUESTED,
            CLAIMED,
            COMPLETED,
        ]
        assert events(await log.read_operation("op-1", side=Side.RUN, without=(Progress, Claimed))) == [
            COMPLETED
        ]

    async def test_range_stops_where_it_is_told(self, log: EventLog) -> None:
        """A range yields its first and its last event and stops."""
        await append_many(log, 6)
        assert [entry.sequence async for entry in log.read_range(2, 4)] == [2, 3, 4]
        assert [entry.sequence async for entry in log.read_range(6, 6)] == [6]

    async def test_range_stops_at_the_present_end(self, log: EventLog) -> None:
        """Without a last sequence, or with one that is not there yet, a range stops at the end."""
        await append_many(log, 3, operation_id="op-1")
        await append_many(log, 3, operation_id="op-2")
        assert [entry.sequence async for entry in log.read_range(1)] == [1, 2, 3, 4, 5, 6]
        assert [entry.sequence async for entry in log.read_range(5, 99)] == [5, 6]
        assert [entry.sequence async for entry in log.read_range(7)] == []

    async def test_range_of_an_empty_log(self, log: EventLog) -> None:
        """Nothing there is nothing read."""
        assert [entry async for entry in log.read_range(1)] == []

    async def test_tail_catches_up_and_goes_on(self, log: EventLog) -> None:
        """A tail yields what is there, then what comes, without gap or doubling."""
        last = await append_many(log, 3)
        async with aclosing(log.tail()) as entries:
            assert [entry.sequence for entry in await take(entries, 3)] == [1, 2, 3]
            waiting = asyncio.create_task(take(entries, 2))
            last = await append(log, progress(4), "e4", expected=last)
            await append(log, progress(5), "e5", expected=last)
            assert [entry.sequence for entry in await waiting] == [4, 5]

    async def test_tail_begins_after_a_sequence(self, log: EventLog) -> None:
        """A reader that knows where it was goes on there."""
        await append_many(log, 4)
        async with aclosing(log.tail(after_sequence=2)) as entries:
            assert [entry.sequence for entry in await take(entries, 2)] == [3, 4]

    async def test_tail_of_one_operation(self, log: EventLog) -> None:
        """A follower sees the events of its operation only."""
        await append(log, CLAIMED, "a1", expected=0, operation_id="op-1")
        await append(log, CLAIMED, "b1", expected=0, operation_id="op-2")
        second = await append(log, CANCEL_REQUESTED, "b2", expected=0, operation_id="op-2")
        async with aclosing(log.tail(operation_id="op-2")) as entries:
            assert [entry.envelope.id for entry in await take(entries, 2)] == ["b1", "b2"]
        async with aclosing(log.tail(operation_id="op-2", after_sequence=second - 1)) as entries:
            (entry,) = await take(entries, 1)
            assert isinstance(entry.event, CancelRequested)

    async def test_tail_that_waits_can_be_cancelled(self, log: EventLog) -> None:
        """A reader that waits for the next event ends when it is told to."""
        async with aclosing(log.tail()) as entries:
            waiting = asyncio.create_task(anext(entries))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    async def test_batches_hold_what_is_there(self, log: EventLog) -> None:
        """Batches are never empty, never larger than asked for, and lose nothing."""
        await append_many(log, 10)
        seen: list[int] = []
        async with aclosing(log.tail_batches(after_sequence=1, entries_max=4)) as batches:
            async with asyncio.timeout(WAIT_SECONDS):
                async for batch in batches:
                    assert 1 <= len(batch) <= 4
                    seen.extend(entry.sequence for entry in batch)
                    if seen[-1] == 10:
                        break
        assert seen == list(range(2, 11))

    async def test_stored_events_from_any_place_are_all_that_follow(
        self, log: EventLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However many of others stand between them, few or very many."""
        monkeypatch.setattr(event_log, "ENTRIES_MAX", 2)
        monkeypatch.setattr(event_log, "NEAR_MESSAGES", 4)
        last, other, own = 0, 0, list[int]()
        for unit in range(1, 7):
            last = await append(log, progress(unit), f"e{unit}", expected=last)
            own.append(last)
            others = 14 if unit == 3 else 1
            other = await append_many(log, others, operation_id="op-2", expected=other)
        for after in range(other + 1):
            stored = [each async for each in log.stored("op-1", after_sequence=after)]
            assert [each.sequence for each in stored] == [each for each in own if each > after]
            assert {each.operation_id for each in stored} <= {"op-1"}

    async def test_batch_is_not_held_back(self, log: EventLog) -> None:
        """One event is a batch, however many would fit."""
        async with aclosing(log.tail_batches(entries_max=500)) as batches:
            waiting = asyncio.create_task(anext(batches))
            await append(log, COMPLETED, "e1", expected=0)
            async with asyncio.timeout(WAIT_SECONDS):
                (entry,) = await waiting
        assert isinstance(entry.event, Completed)


@pytest.mark.unit
class TestMemoryEventLog(EventLogConformance):
    """The double."""

    @pytest.fixture
    def log(self) -> EventLog:
        return MemoryEventLog()


@pytest.mark.unit
class TestArchivedEventLog(EventLogConformance):
    """One whose operations may be archived; what that is like is in the orchestrator's tests."""

    @pytest.fixture
    def log(self, tmp_path: Path) -> EventLog:
        return ArchivedEventLog(MemoryEventLog(), HistoryArchive(DirectoryArtifactStore(tmp_path)))


@pytest.mark.integration
class TestJetStreamEventLog(EventLogConformance):
    """The real one."""

    @pytest.fixture
    def log(self, bus: Bus) -> EventLog:
        return JetStreamEventLog(bus.connection, bus.settings)
