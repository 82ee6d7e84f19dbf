"""Commands to many: the count first, then every single verdict."""

import json
from typing import Any

import pytest
from milepost_contracts.events import CancelRequested, CheckpointDeleted, CheckpointPinned
from milepost_contracts.failures import RejectionCode
from milepost_orchestrator.domain.bulk import TARGETS_MAX, decide_bulk
from milepost_orchestrator.domain.rejections import Rejection

from tests.orchestrator.running import Running
from tests.orchestrator.stories import cancelled, claimed, completed, snapshot


@pytest.mark.unit
@pytest.mark.parametrize(
    ("count", "expected", "any_count", "code"),
    [
        (3, 3, False, None),
        (0, 0, False, None),
        (3, None, True, None),
        (3, None, False, RejectionCode.COUNT_NEEDED),
        (3, 2, False, RejectionCode.COUNT_DIFFERS),
        (3, 2, True, RejectionCode.COUNT_DIFFERS),
        (TARGETS_MAX + 1, None, True, RejectionCode.TOO_MANY),
    ],
)
def test_nothing_begins_before_the_count_is_known(
    count: int, expected: int | None, any_count: bool, code: RejectionCode | None
) -> None:
    """As many as expected, or as many as there are; never too many at a time."""
    decision = decide_bulk(count, expected, any_count=any_count)
    assert (decision.code if isinstance(decision, Rejection) else None) == code


async def bulk(
    running: Running, action: str, parameters: dict[str, Any], **body: object
) -> list[dict[str, Any]]:
    answer = await running.http.post(f"/bulk/{action}", params=parameters, json=body)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_cancelled_by_filter_with_each_verdict(running: Running) -> None:
    """The dry run counts and changes nothing; another count is refused; then each is cancelled once."""
    wanted = [await running.start(name=f"night {number}") for number in range(3)]
    other = await running.start(name="day")
    await running.projected()
    (dry,) = await bulk(running, "cancel", {"name": "night"}, dry_run=True)
    assert (dry["count"], dry["verdicts"]["accepted"]) == (3, 3)
    assert [each["target"] for each in dry["first"]] == wanted
    for body, code in (({}, "count-needed"), ({"expected_count": 2}, "count-differs")):
        refused = await running.http.post("/bulk/cancel", params={"name": "night"}, json=body)
        assert refused.json()["code"] == code
    paged = await running.http.post("/bulk/cancel", params={"limit": 1}, json={"any_count": True})
    assert (paged.status_code, paged.json()["problems"][0]["field"]) == (422, "limit")
    for path, methods in (await running.http.get("/openapi.json")).json()["paths"].items():
        if path.startswith("/bulk/"):
            documented = {each["name"] for each in methods["post"]["parameters"]}
            assert not documented & {"limit", "cursor", "sort", "order", "counts"}, path
    head, *verdicts, summary = await bulk(
        running, "cancel", {"name": "night"}, expected_count=3, reason="wrong data"
    )
    assert head["count"] == 3
    assert [(each["target"], each["verdict"]) for each in verdicts] == [(each, "accepted") for each in wanted]
    assert summary == {"verdicts": {"accepted": 3, "duplicate": 0, "rejected": 0}, "codes": {}}
    for operation_id in wanted:
        assert (await running.until(operation_id, CancelRequested)).event.reason == "wrong data"
    assert await running.event_log.read_operation(other) != []
    await running.projected()
    (left,) = await bulk(running, "cancel", {}, dry_run=True)
    assert [each["target"] for each in left["first"]] == [other]


async def test_what_is_refused_is_told_and_stops_nothing(running: Running) -> None:
    """Of three checkpoints one is pinned and one in use: the third is deleted, the dry run said all of it."""
    await running.keep_state()
    ended, live = await running.start(), await running.start()
    await running.happen(ended, claimed(), snapshot("cp-a", 40), snapshot("cp-b", 50), cancelled(unit=50))
    await running.happen(ended, CheckpointPinned(checkpoint_id="cp-a"))
    await running.happen(live, claimed(), snapshot("cp-c", 40))
    await running.projected()
    (dry,) = await bulk(running, "delete-checkpoints", {}, dry_run=True)
    head, *verdicts, summary = await bulk(running, "delete-checkpoints", {}, expected_count=3)
    told = {each["target"]: each.get("code") for each in verdicts}
    assert told == {"cp-a": "checkpoint-pinned", "cp-b": None, "cp-c": "checkpoint-in-use"}
    assert (dry["count"], dry["verdicts"], dry["codes"]) == (
        head["count"],
        summary["verdicts"],
        summary["codes"],
    )
    assert (await running.until(ended, CheckpointDeleted)).event.checkpoint_id == "cp-b"


async def test_resumed_by_filter_and_sent_again(running: Running) -> None:
    """Only what can be resumed is meant; the same key again makes no second child."""
    await running.keep_state()
    stopped, done = await running.start(), await running.start()
    await running.happen(stopped, claimed(), snapshot("cp-a", 40), cancelled(unit=40))
    await running.happen(done, claimed(), completed())
    await running.projected()
    headers = {"Idempotency-Key": "bulk-1"}
    answers = []
    for _ in range(2):
        answer = await running.http.post("/bulk/resume", json={"any_count": True}, headers=headers)
        answers.append([json.loads(line) for line in answer.text.splitlines()])
    (_, first, _), (_, second, _) = answers
    assert (first["target"], first["verdict"], second["verdict"]) == (stopped, "accepted", "duplicate")
    assert first["operation_id"] == second["operation_id"]
