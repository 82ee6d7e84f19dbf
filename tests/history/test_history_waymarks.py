"""States from waymarks are those of the whole fold, whatever happened and wherever one looks."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milepost_contracts.events import Event, Progress, Side
from milepost_orchestrator.adapters import waymark_rows
from milepost_orchestrator.application import waymarks
from milepost_orchestrator.application.moments import moment_of
from milepost_orchestrator.application.past import Past
from milepost_orchestrator.application.projections import project
from milepost_orchestrator.application.replaying import state_as_of, steps
from milepost_orchestrator.application.state_cache import StateCache
from milepost_orchestrator.application.waymarks import Waymark
from milepost_runtime.clock import SystemClock
from milepost_runtime.event_log import EventLog, StoredEvent
from milepost_runtime.history.files import read_history
from milepost_runtime.stored_events import read_entry

from tests.history.stored import stored_story
from tests.history.waymark_doubles import MemoryWaymarks, StoredLog
from tests.orchestrator.stories import OPERATION, progress, requested, snapshot
from tests.orchestrator.test_orchestrator_batches import AFTER_THE_BEGINNING

pytestmark = pytest.mark.unit
DAMAGED = b"\xff"
HISTORIES = sorted((Path(__file__).parent.parent / "histories").glob("*.jsonl"))
UNUSUAL = (
    Progress(attempt=1, unit=40, total_units=100, units_per_second=float("inf")),
    snapshot("cp-3", 45, summary={"equity": 1.0, "orders": 2**70, "text": "\u2028 \x00 ü"}),
)
TOLD = st.lists(st.sampled_from((*AFTER_THE_BEGINNING, *UNUSUAL)), max_size=16)
SEVERAL = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waymark after every third event, however many checkpoints there are."""
    monkeypatch.setattr(waymarks, "EVENTS_BETWEEN", 3)
    monkeypatch.setattr(waymarks, "EVENTS_FOR_A_CHECKPOINT", 0)


async def each(events: Sequence[StoredEvent]):
    for stored in events:
        yield stored


Asked = dict[str, Any]


async def truth(events: Sequence[StoredEvent], operation_id: str) -> list[tuple[str, Asked, Any]]:
    """Everything that one can ask about an operation, with what the whole fold from its first event says."""
    own = [event for event in events if event.operation_id == operation_id]
    found: list[tuple[str, Asked, Any]] = []
    times = {read_entry(event).envelope.time for event in own if event.payload != DAMAGED}
    sequences = range(max(own[0].sequence - 1, 0), own[-1].sequence + 2)
    states: list[Asked] = [{}, *({"sequence": each} for each in sequences)]
    states += [{"time": time - early} for time in times for early in (timedelta(), timedelta(seconds=1))]
    found += [("state", asked, await state_as_of(each(own), **asked)) for asked in states]
    moments: list[Asked] = [{}, *({"sequence": each} for each in sequences)]
    moments += [{"number": number} for number in (0, 1, len(own) // 2, len(own), len(own) + 1)]
    return found + [("moment", asked, await moment_of(each(own), **asked)) for asked in moments]


async def differing(past: Past, operation_id: str, known: list[tuple[str, Asked, Any]]) -> list[Any]:
    """What is said otherwise than it is."""
    return [
        (what, asked)
        for what, asked, answer in known
        if await getattr(past, what)(operation_id, **asked) != answer
    ]


def past_of(log: StoredLog, store: MemoryWaymarks, **options: int) -> Past:
    return Past(cast("EventLog", log), store, SystemClock(), **options)


def apart(told: Sequence[Event]) -> list[StoredEvent]:
    """As a log has them: another operation's events between, and a clock that goes back now and then."""
    events: list[StoredEvent] = []
    for place, stored in enumerate(stored_story(requested(), *told)):
        entry = read_entry(stored)
        if place % 4 == 3:
            early = entry.envelope.time - timedelta(seconds=2)
            payload = stored.payload.replace(
                entry.envelope.time.isoformat().replace("+00:00", "Z").encode(),
                early.isoformat().replace("+00:00", "Z").encode(),
            )
            assert payload != stored.payload
            stored = replace(stored, payload=payload)
        events.append(replace(stored, sequence=10 + 2 * place))
    return events


@SEVERAL
@given(TOLD, st.booleans())
def test_any_moment_and_state_is_that_of_the_whole_fold(told: list[Event], damaged: bool) -> None:
    """Whatever happened: found first, found again, and found by one who has only what is on record."""
    events = apart(told)
    if damaged:
        events.insert(len(events) // 2 + 1, StoredEvent(11 + len(events), OPERATION, Side.RUN, "x", DAMAGED))
        events.sort(key=lambda event: event.sequence)

    async def compare() -> None:
        store, log = MemoryWaymarks(), StoredLog(events)
        known, past = await truth(events, OPERATION), past_of(log, store, state_bytes_max=1)
        assert await differing(past, OPERATION, known) == []
        assert await differing(past, OPERATION, known[::-1]) == []
        assert await differing(past_of(log, store), OPERATION, known) == []
        assert damaged or len(store.rows) == len(events) // 3

    asyncio.run(compare())


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_recorded_histories_are_the_same_from_waymarks(path: Path) -> None:
    """Every operation of every recorded history, at every event; waymarks as a projector makes them."""
    with path.open("rb") as file:
        header, events, _ = read_history(file)
    cache, store = StateCache(), MemoryWaymarks()
    for first in range(0, len(events), 5):
        changes = project(cache, [read_entry(stored) for stored in events[first : first + 5]])
        await store.put(changes.waymarks)
    assert store.rows
    made = len(store.rows)
    for operation_id in header.operations:
        past = past_of(StoredLog(events), store)
        known = await truth(events, operation_id)
        assert await differing(past, operation_id, known[::3]) == []
    assert len(store.rows) >= made


@SEVERAL
@given(TOLD, st.integers(1, 7))
def test_projectors_waymarks_are_the_fold_up_to_their_event(told: list[Event], size: int) -> None:
    """However the log is cut; none after an event that is in quarantine."""
    events = apart(told)
    cache = StateCache()
    marks: list[Waymark] = []
    amiss: list[int] = []
    for first in range(0, len(events), size):
        changes = project(cache, [read_entry(stored) for stored in events[first : first + size]])
        amiss += [row.sequence for row in changes.quarantine]
        marks += changes.waymarks
    assert all(mark.sequence < min(amiss) for mark in marks if amiss)
    for mark in marks:
        whole = asyncio.run(state_as_of(each(events), sequence=mark.sequence))
        assert (mark.state, mark.number) == (whole.state, whole.events)


@SEVERAL
@given(TOLD)
def test_what_a_moment_changed_is_what_the_whole_documents_differ_in(told: list[Event]) -> None:
    """Also where checkpoints that did not change are not looked at."""
    events = apart(told)
    for step in steps(read_entry(stored) for stored in events):
        moment = asyncio.run(moment_of(each(events), number=step.number))
        assert moment is not None
        assert (moment.state, moment.changes) == (step.state, step.changes)


async def test_a_state_far_in_costs_no_more_than_the_way_from_the_last_waymark() -> None:
    """Known once, a scrub reads a handful of events of a thousand, and so does one who has what is on record."""
    log, store = StoredLog(stored_story(requested(), *map(progress, range(1, 1000)))), MemoryWaymarks()
    await past_of(log, store).moment(OPERATION)
    past = past_of(log, store)
    for sequence in (977, 978, 3, 500):
        log.read = 0
        moment = await past.moment(OPERATION, sequence=sequence)
        assert moment is not None
        assert moment.number == sequence
        assert log.read <= 10


async def test_waymarks_of_another_log_or_of_other_code_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where another event stands, or another version folded, the log alone counts."""
    events = stored_story(requested(), *map(progress, range(1, 9)))
    others = stored_story(requested(name="other"), *map(progress, range(11, 19)))
    others = [replace(each, payload=each.payload.replace(b'"id":"', b'"id":"x')) for each in others]
    store = MemoryWaymarks()
    await past_of(StoredLog(others), store).moment(OPERATION)
    assert store.rows
    known = await truth(events, OPERATION)
    assert await differing(past_of(StoredLog(events), store), OPERATION, known) == []
    monkeypatch.setattr(waymark_rows, "folded_by", lambda: "other code")
    assert await differing(past_of(StoredLog(events), store), OPERATION, known) == []


async def test_what_happens_meanwhile_is_seen() -> None:
    """A road that is known goes on with what is new; the count and the last event are those of now."""
    events = stored_story(requested(), *map(progress, range(1, 20)))
    log = StoredLog(events[:7])
    past = past_of(log, MemoryWaymarks())
    assert (await past.moment(OPERATION)).number == 7
    log.events = events
    assert await differing(past, OPERATION, await truth(events, OPERATION)) == []
