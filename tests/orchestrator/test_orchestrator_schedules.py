"""Delayed and recurring starts: when they are due, that each starts once, and what becomes of missed ones."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from milepost_contracts.commands import StartOperation
from milepost_contracts.events import Requested
from milepost_contracts.failures import RejectionCode
from milepost_contracts.schedules import (
    CreateSchedule,
    DeleteSchedule,
    Missed,
    PauseSchedule,
    Timing,
    UnpauseSchedule,
)
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.application.timekeeper import LATE_SECONDS
from milepost_orchestrator.domain.timing import newest_due, next_due

from tests.orchestrator.running import Running, run_orchestrator
from tests.orchestrator.stories import EPOCH as START
from tests.orchestrator.workshop import Workshop

HOURLY = Timing(cron="0 * * * *")
COUNT = StartOperation(kind="counter", spec={"units": 5})


def code(answer: object) -> RejectionCode:
    assert isinstance(answer, Rejected), answer
    assert answer.fix
    return answer.code


async def created(workshop: Workshop, timing: Timing = HOURLY, **fields: object) -> str:
    command = CreateSchedule.model_validate({"timing": timing, "start": COUNT, **fields})
    answer = await workshop.send(command)
    assert isinstance(answer, Accepted), answer
    return answer.operation_id


def started(workshop: Workshop) -> list[str]:
    """Who asked for each operation that there is."""
    events = [entry.event for entry in workshop.event_log.entries]
    return [event.requested_by for event in events if isinstance(event, Requested)]


# --- times ----------------------------------------------------------------------------------------


@pytest.mark.unit
def test_cron_keeps_the_time_of_day_of_its_zone_over_clock_changes() -> None:
    """Half past two of Berlin: an hour that does not exist comes later, one that comes twice counts once."""
    timing = Timing(cron="30 2 * * *", time_zone="Europe/Berlin")
    days: list[datetime] = []
    after = datetime(2026, 3, 27, 12, tzinfo=UTC)
    for _ in range(3):
        due = next_due(timing, after)
        assert due is not None
        days.append(due)
        after = due
    assert [day.astimezone(UTC).isoformat()[5:16] for day in days] == [
        "03-28T01:30",
        "03-29T01:00",
        "03-30T00:30",
    ]
    autumn = newest_due(
        timing, datetime(2026, 10, 24, 12, tzinfo=UTC), datetime(2026, 10, 25, 12, tzinfo=UTC)
    )
    assert autumn == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@pytest.mark.unit
def test_the_newest_due_time_is_the_last_that_next_due_comes_to() -> None:
    """Forwards and backwards are the same times, whatever the two ends are."""
    timing = Timing(cron="*/20 8-10 * * 1-5", time_zone="America/New_York")
    start = datetime(2026, 10, 30, tzinfo=UTC)
    for minutes in range(0, 4 * 24 * 60, 37):
        until = start + timedelta(minutes=minutes)
        newest, due = None, next_due(timing, start)
        while due is not None and due <= until:
            newest, due = due, next_due(timing, due)
        assert newest_due(timing, start, until) == newest


# --- starting -------------------------------------------------------------------------------------


@pytest.mark.unit
async def test_each_time_starts_one_operation(workshop: Workshop) -> None:
    """Nothing before the time; then one, however often it is looked at; the next hour the next one."""
    schedule_id = await created(workshop)
    first = START + timedelta(hours=1)
    assert workshop.timers.expected == {schedule_id: first}
    assert await workshop.timekeeper.ring(schedule_id) == first
    assert started(workshop) == []
    for hour in (1, 2):
        workshop.clock.advance(3600)
        for _ in range(3):
            assert await workshop.timekeeper.ring(schedule_id) == START + timedelta(hours=hour + 1)
        assert started(workshop) == [f"/schedule/{schedule_id}"] * hour
    (schedule,) = await workshop.schedules.all()
    assert schedule.last is not None
    assert schedule.last.operation_id is not None
    assert schedule.last.due_at == START + timedelta(hours=2)
    assert len([each for each in workshop.records.records if each.envelope.subject.endswith("-last")]) == 1


@pytest.mark.unit
async def test_cut_off_between_start_and_record_it_starts_no_second(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sees to the time again finds the operation; several at once start one."""
    schedule_id = await created(workshop)
    workshop.clock.advance(3600)

    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(workshop.schedules, "fired", killed)
        with pytest.raises(asyncio.CancelledError):
            await workshop.timekeeper.ring(schedule_id)
    assert len(started(workshop)) == 1
    await asyncio.gather(*(workshop.timekeeper.ring(schedule_id) for _ in range(5)))
    assert len(started(workshop)) == 1


@pytest.mark.unit
@pytest.mark.parametrize(("missed", "starts"), [(Missed.ONCE, 1), (Missed.SKIP, 0)])
async def test_missed_times_are_made_up_for_once_or_skipped(
    workshop: Workshop, missed: Missed, starts: int
) -> None:
    """Five hours nobody was there: the newest time counts, or none; the next one is on time either way."""
    schedule_id = await created(workshop, missed=missed)
    workshop.clock.advance(5 * 3600 + LATE_SECONDS + 1)
    assert await workshop.timekeeper.ring(schedule_id) == START + timedelta(hours=6)
    assert len(started(workshop)) == starts
    (schedule,) = await workshop.schedules.all()
    assert schedule.last is not None
    assert (schedule.last.due_at, schedule.last.skipped) == (START + timedelta(hours=5), starts == 0)
    workshop.clock.advance(3600 - LATE_SECONDS)
    await workshop.timekeeper.ring(schedule_id)
    assert len(started(workshop)) == starts + 1


@pytest.mark.unit
async def test_once_at_a_time_and_then_done(workshop: Workshop) -> None:
    """A delayed start starts once; after it the schedule is done."""
    schedule_id = await created(workshop, Timing(at=START + timedelta(minutes=5)))
    workshop.clock.advance(300)
    assert await workshop.timekeeper.ring(schedule_id) is None
    assert len(started(workshop)) == 1
    (schedule,) = await workshop.schedules.all()
    assert schedule.state == "done"
    assert await workshop.timekeeper.ring(schedule_id) is None
    assert len(started(workshop)) == 1


@pytest.mark.unit
async def test_paused_times_are_not_made_up_for_and_deleted_ones_never_come(workshop: Workshop) -> None:
    """Paused over two hours, unpaused, the third comes; deleted, nothing comes and it is not found any more."""
    schedule_id = await created(workshop)
    assert isinstance(
        await workshop.send(PauseSchedule(schedule_id=schedule_id, reason="holidays")), Accepted
    )
    again = await workshop.send(PauseSchedule(schedule_id=schedule_id))
    assert code(again) is RejectionCode.SCHEDULE_UNCHANGED
    workshop.clock.advance(2.5 * 3600)
    assert await workshop.timekeeper.ring(schedule_id) is None
    assert isinstance(await workshop.send(UnpauseSchedule(schedule_id=schedule_id)), Accepted)
    assert await workshop.timekeeper.ring(schedule_id) == START + timedelta(hours=3)
    assert started(workshop) == []
    workshop.clock.advance(0.5 * 3600)
    await workshop.timekeeper.ring(schedule_id)
    assert len(started(workshop)) == 1
    assert isinstance(await workshop.send(DeleteSchedule(schedule_id=schedule_id)), Accepted)
    workshop.clock.advance(3600)
    assert await workshop.timekeeper.ring(schedule_id) is None
    assert len(started(workshop)) == 1
    gone = await workshop.send(DeleteSchedule(schedule_id=schedule_id))
    assert code(gone) is RejectionCode.SCHEDULE_NOT_FOUND
    assert await workshop.schedules.all() == []


@pytest.mark.unit
async def test_a_start_that_is_refused_is_told_and_the_next_one_comes(workshop: Workshop) -> None:
    """The kind is gone when the time comes: the schedule says why, and goes on."""
    schedule_id = await created(workshop)
    kind = workshop.kinds._kinds.pop("counter")
    workshop.clock.advance(3600)
    assert await workshop.timekeeper.ring(schedule_id) == START + timedelta(hours=2)
    (schedule,) = await workshop.schedules.all()
    assert schedule.last is not None
    assert schedule.last.code is RejectionCode.UNKNOWN_KIND
    await workshop.kinds.announce(kind)
    workshop.clock.advance(3600)
    await workshop.timekeeper.ring(schedule_id)
    assert len(started(workshop)) == 1


# --- commands -------------------------------------------------------------------------------------


@pytest.mark.unit
@pytest.mark.parametrize(
    ("timing", "fields"),
    [
        ({"at": START.isoformat()}, {"timing.at"}),
        ({"cron": "61 * * * *"}, {"timing.cron"}),
        ({"cron": "nonsense", "time_zone": "Europe/Atlantis"}, {"timing.cron", "timing.time_zone"}),
        ({"cron": "0 0 30 2 *"}, {"timing.cron"}),
        ({"cron": "0 3 * * *", "time_zone": "../../etc/passwd"}, {"timing.time_zone"}),
    ],
)
async def test_a_timing_that_cannot_be_is_refused_with_every_problem(
    workshop: Workshop, timing: dict[str, str], fields: set[str]
) -> None:
    """Each with its field, and nothing is recorded."""
    answer = await workshop.send(CreateSchedule.model_validate({"timing": timing, "start": COUNT}))
    assert code(answer) is RejectionCode.INVALID_SCHEDULE
    assert isinstance(answer, Rejected)
    assert {problem.field for problem in answer.problems} == fields
    assert workshop.records.records == []


@pytest.mark.unit
async def test_a_schedule_of_what_cannot_start_is_refused(workshop: Workshop) -> None:
    """With the words that the start itself would get; the same command twice makes one schedule."""
    bad = StartOperation(kind="counter", spec={"units": "x"})
    refused = await workshop.send(CreateSchedule(timing=HOURLY, start=bad))
    direct = await workshop.send(bad)
    assert isinstance(refused, Rejected)
    assert isinstance(direct, Rejected)
    assert (refused.code, refused.message, refused.problems) == (direct.code, direct.message, direct.problems)
    command = CreateSchedule(timing=HOURLY, start=COUNT)
    assert isinstance(await workshop.send(command, "cmd-1"), Accepted)
    assert isinstance(await workshop.send(command, "cmd-1"), Duplicate)
    assert len(await workshop.schedules.all()) == 1


async def test_http_and_bus_make_list_and_delete_schedules(running: Running) -> None:
    """Made over HTTP, paused over the bus, seen over HTTP, refused alike, deleted over HTTP."""
    body = {
        "timing": {"cron": "0 3 * * *", "time_zone": "Europe/Berlin"},
        "start": COUNT.model_dump(mode="json"),
    }
    answer = await running.http.post("/schedules", json={**body, "name": "nightly"})
    assert (answer.status_code, answer.headers["location"]) == (201, "/schedules")
    schedule_id = answer.json()["operation_id"]
    assert isinstance(await running.client.request(PauseSchedule(schedule_id=schedule_id)), Accepted)
    (listed,) = (await running.http.get("/schedules")).json()["schedules"]
    assert (listed["state"], listed["name"], listed["next_due"]) == ("paused", "nightly", None)
    refused = await running.client.request(PauseSchedule(schedule_id=schedule_id))
    problem = await running.http.post(f"/schedules/{schedule_id}/pause")
    assert isinstance(refused, Rejected)
    assert (problem.status_code, problem.json()["code"]) == (409, refused.code.value)
    assert (await running.http.post(f"/schedules/{schedule_id}/unpause")).status_code == 200
    assert (await running.http.get(f"/schedules/{schedule_id}")).json()["next_due"] is not None
    assert (await running.http.delete(f"/schedules/{schedule_id}")).status_code == 200
    assert (await running.http.get(f"/schedules/{schedule_id}")).status_code == 404
    assert (await running.http.post("/schedules", json={**body, "timing": {}})).status_code == 422


async def test_schedules_survive_restarts_and_two_orchestrators_start_each_time_once(
    tenant: StackEndpoints, tmp_path: Path
) -> None:
    """Every second one: made by one orchestrator that stops, kept by two others; no second has two operations."""
    async with run_orchestrator(tenant, tmp_path) as first:
        command = CreateSchedule(timing=Timing(cron="* * * * * *"), start=COUNT)
        answer = await first.client.request(command)
        assert isinstance(answer, Accepted)
    async with run_orchestrator(tenant, tmp_path) as second, run_orchestrator(tenant, tmp_path) as third:
        requested_at: list[datetime] = []
        async with asyncio.timeout(60):
            async for entry in second.event_log.tail():
                if isinstance(entry.event, Requested):
                    requested_at.append(entry.envelope.time)
                if len(requested_at) == 4:
                    break
        assert isinstance(
            await third.client.request(DeleteSchedule(schedule_id=answer.operation_id)), Accepted
        )
        seconds = [time.replace(microsecond=0) for time in requested_at[1:]]
        assert len(set(seconds)) == len(seconds), "a time was started twice"
