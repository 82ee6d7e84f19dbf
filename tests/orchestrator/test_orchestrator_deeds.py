"""Who did what: every action of a person is told with who, why, before and after."""

import pytest
from milepost_contracts.commands import HoldDispatch, LimitKind, ReleaseDispatch
from milepost_contracts.schedules import DeleteSchedule, PauseSchedule, UnpauseSchedule
from milepost_contracts.verdicts import Accepted
from milepost_orchestrator.application.deeds import before_and_after

from tests.orchestrator.running import Running
from tests.orchestrator.test_orchestrator_quarantine import put_raw

OWN_PAGE = {"HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
NIGHTLY = {
    "timing": {"cron": "0 3 1 1 *", "time_zone": "Europe/Berlin"},
    "start": {"kind": "counter", "spec": {"units": 3}},
    "name": "nightly",
    "reason": "every year",
}


async def accepted(running: Running, *commands) -> None:
    for command in commands:
        assert isinstance(await running.client.request(command), Accepted)


@pytest.mark.integration
async def test_every_action_is_told_with_who_why_before_and_after(running: Running) -> None:
    """Operations, holds, limits, schedules, redeliveries and sweeps, over the bus, HTTP and the dashboard."""
    operation_id = await running.start()
    await accepted(
        running,
        HoldDispatch(reason="repairs"),
        ReleaseDispatch(),
        LimitKind(kind="counter", limit=2),
        LimitKind(kind="counter", limit=None, reason="enough"),
    )
    schedule_id = (await running.http.post("/schedules", json=NIGHTLY)).json()["operation_id"]
    await accepted(
        running,
        PauseSchedule(schedule_id=schedule_id, reason="holidays"),
        UnpauseSchedule(schedule_id=schedule_id),
        DeleteSchedule(schedule_id=schedule_id),
    )
    await running.http.post(f"/operations/{operation_id}/prioritize", json={"priority": 5})
    await running.http.post(f"/operations/{operation_id}/cancel", json={"reason": "wrong data"})
    await put_raw(running, operation_id, "run.progress", b"no event")
    await running.projected()
    answer = await running.http.post("/ui/system/quarantine/retry", headers=OWN_PAGE)
    assert answer.status_code == 200
    assert (await running.http.post("/storage/orphans", json={"dry_run": True})).status_code == 200
    assert (await running.http.post("/storage/orphans")).status_code == 200

    told = (await running.http.get("/deeds")).json()["deeds"]
    found = [(each["what"], each["requested_by"], each["before"], each["after"]) for each in told]
    queued = ("requested", "/test", None, "counter queued")
    assert set(found) == {
        queued,
        ("dispatch held", "/test", "given out", "held by /test: repairs"),
        ("dispatch released", "/test", "held by /test: repairs", "given out"),
        ("dispatch limited", "/test", "no limit", "2 at a time"),
        ("dispatch limited", "/test", "2 at a time", "no limit"),
        ("schedule created", "/http", None, "0 3 1 1 * Europe/Berlin"),
        ("schedule paused", "/test", "active", "paused"),
        ("schedule unpaused", "/test", "paused", "active"),
        ("schedule deleted", "/test", "active", "deleted"),
        ("prioritized", "/http", "priority 0", "priority 5"),
        ("cancel-requested", "/http", "queued", "cancelling"),
        ("redelivered", "/dashboard", "1 set aside", "1 set aside"),
        ("orphans-swept", "/http", "0 orphans, 0 bytes", "none of them"),
    }
    assert len(found) == 13
    assert [each["at"] for each in told] == sorted((each["at"] for each in told), reverse=True)
    reasons = {each["reason"] for each in told}
    assert reasons == {None, "repairs", "enough", "every year", "holidays", "wrong data"}
    older = (await running.http.get("/deeds", params={"until": told[-2]["at"], "limit": 1})).json()["deeds"]
    assert [each["what"] for each in older] == ["requested"]
    assert (await running.http.get("/schedules")).json() == {"schedules": []}


@pytest.mark.unit
def test_words_are_found_for_events_of_any_age() -> None:
    """A cancel of before its status was recorded, and one at a unit; a deletion; an event that changes nothing."""
    assert before_and_after("cancel-requested", {}) == (None, "cancelling")
    at_unit = {"before": "running", "at_unit": 5000}
    assert before_and_after("cancel-requested", at_unit) == ("running", "cancelling at unit 5,000")
    assert before_and_after("cancel-requested", {"force": True})[1] == "cancelled by force"
    assert before_and_after("checkpoint-deleted", {}) == ("kept", "deleted")
    assert before_and_after("resumed", {"child_id": "op-2"}) == (None, "resume: op-2")
    assert before_and_after("archived", {}) == (None, None)
