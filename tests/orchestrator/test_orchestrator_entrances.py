"""Bus and HTTP: the same answers, problem documents, paging, and health."""

import json
from pathlib import Path

import httpx
import pytest
from milepost_contracts.commands import (
    COMMANDS,
    Command,
    StartOperation,
    command_name,
)
from milepost_contracts.events import CheckpointRecorded
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_contracts.ids import operation_id_of
from milepost_contracts.verdicts import Duplicate
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.bus.fleet import NatsFleet
from milepost_runtime.clock import random_id

from tests.orchestrator.running import Running, run_orchestrator
from tests.orchestrator.stories import (
    EPOCH,
    cancelled,
    claimed,
    completed,
    failed,
    progress,
    snapshot,
    started,
)

pytestmark = pytest.mark.integration
KEY = "Idempotency-Key"


async def over_http(running: Running, command: Command, key: str) -> httpx.Response:
    document = command.model_dump(mode="json", exclude_none=True)
    if isinstance(command, StartOperation):
        path = "/operations"
    else:
        path = f"/operations/{document.pop('operation_id')}/{command_name(command)}"
    return await running.http.post(path, json=document, headers={KEY: key})


async def ended(running: Running) -> str:
    await running.keep_state()
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), started(), progress(50), snapshot(), cancelled())
    return operation_id


async def stumbled(running: Running) -> str:
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), started(), failed())
    return operation_id


async def finished(running: Running) -> str:
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), completed())
    return operation_id


# --- the same answers -----------------------------------------------------------------------------

CASES = [
    ("start", {"kind": "counter", "spec": {"units": 3}}, 201),
    ("start", {"kind": "counter", "spec": {"units": 3}, "dry_run": True}, 200),
    ("start", {"kind": "counter", "spec": {"units": "x", "y": 1}}, 422),
    ("start", {"kind": "astrology", "spec": {}}, 422),
    ("start", {"kind": "backtest", "spec": {"data": {"name": "aapl"}}}, 201),
    ("start", {"kind": "backtest", "spec": {"data": {"name": "nowhere"}}}, 422),
    ("cancel", {"operation_id": "op-nowhere"}, 404),
    ("cancel", {"operation_id": "FINISHED"}, 409),
    ("cancel", {"operation_id": "LIVE", "at_unit": 5, "dry_run": True}, 200),
    ("resume", {"operation_id": "op-nowhere"}, 404),
    ("resume", {"operation_id": "FINISHED"}, 409),
    ("resume", {"operation_id": "LIVE"}, 409),
    ("resume", {"operation_id": "ENDED", "checkpoint_id": "cp-nowhere"}, 404),
    ("resume", {"operation_id": "ENDED", "options": {"stop_at_unit": 80}}, 201),
    ("fork", {"operation_id": "op-nowhere", "changes": {"seconds": 2}}, 404),
    ("fork", {"operation_id": "LIVE", "changes": {"seconds": 2}}, 409),
    ("fork", {"operation_id": "ENDED", "changes": {"seconds": 2}}, 201),
    ("fork", {"operation_id": "ENDED", "changes": {"seconds": 2}, "dry_run": True}, 200),
    ("fork", {"operation_id": "ENDED", "changes": {"units": 7}}, 422),
    ("fork", {"operation_id": "ENDED", "changes": {"units": "x"}}, 422),
    ("fork", {"operation_id": "ENDED", "changes": {}}, 422),
    ("fork", {"operation_id": "ENDED", "changes": {"seconds": 2}, "checkpoint_id": "cp-nowhere"}, 404),
    ("retry", {"operation_id": "op-nowhere"}, 404),
    ("retry", {"operation_id": "ENDED"}, 409),
    ("retry", {"operation_id": "FAILED"}, 201),
]


async def test_http_and_bus_answer_the_same(running: Running) -> None:
    """Every command gets the same verdict over HTTP, by request and as a stored command."""
    await running.add_dataset()
    live, done = await running.start(), await finished(running)
    for name, fields, status in CASES:
        verdicts = []
        for way in ("http", "request", "stored"):
            operations = {"LIVE": live, "FINISHED": done, "ENDED": await ended(running)}
            operations["FAILED"] = await stumbled(running)
            asked = fields.get("operation_id")
            command = COMMANDS[name].model_validate(
                {**fields, **({"operation_id": operations.get(asked, asked)} if asked else {})}
            )
            verdicts.append(await _answer(running, way, command, status, operations))
        assert verdicts[0] == verdicts[1] == verdicts[2], (name, fields)


async def _answer(
    running: Running, way: str, command: Command, status: int, operations: dict[str, str]
) -> dict:
    """The verdict in the words of a rejection or acceptance, with ids that differ replaced."""
    command_id = random_id("cmd")
    if way == "http":
        response = await over_http(running, command, command_id)
        assert response.status_code == status, response.text
        found = response.json()
        if status >= 400:
            assert response.headers["content-type"] == "application/problem+json"
            assert {"type", "title", "status", "detail", "code", "fix", "problems"} <= set(found)
            found = {
                "verdict": "rejected",
                "message": found["detail"],
                **{key: found[key] for key in ("code", "fix", "problems", "command_id", "operation_id")},
            }
    elif way == "request":
        verdict = await running.client.request(command, command_id=command_id)
        found = verdict.model_dump(mode="json")
    else:
        await running.client.publish(command, command_id=command_id)
        found = (await running.client.verdict(command_id)).model_dump(mode="json")
    text = json.dumps(found, sort_keys=True).replace(command_id, "COMMAND")
    text = text.replace(operation_id_of(command_id), "CREATED")
    for word, operation_id in operations.items():
        text = text.replace(operation_id, word)
    return json.loads(text)


async def test_idempotency_key_is_the_command_id(running: Running) -> None:
    """The same key again is a duplicate with 200, over HTTP and over the bus; another content is refused."""
    command = StartOperation(kind="counter", spec={"units": 3})
    first = await over_http(running, command, "cmd-1")
    again = await over_http(running, command, "cmd-1")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["location"] == f"/operations/{operation_id_of('cmd-1')}"
    assert again.json()["verdict"] == "duplicate"
    assert isinstance(await running.client.request(command, command_id="cmd-1"), Duplicate)
    other = await over_http(running, StartOperation(kind="counter", spec={"units": 4}), "cmd-1")
    assert (other.status_code, other.json()["code"]) == (409, "command-id-reused")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "field"),
    [
        ("POST", "/operations", {"kind": "counter"}, 422, "invalid-command", "spec"),
        ("POST", "/operations", {"kind": "counter", "spec": {}, "x": 1}, 422, "invalid-command", "x"),
        ("POST", "/operations/op-1/cancel", {"at_unit": -1}, 422, "invalid-command", "at_unit"),
        ("POST", "/operations/op-1/resume", {"options": {"z": 1}}, 422, "invalid-command", "options.z"),
        ("POST", "/operations/op.1/cancel", None, 422, "invalid-command", "operation_id"),
        ("GET", "/operations?limit=0", None, 422, "invalid-command", "limit"),
        ("GET", "/operations?status=asleep", None, 422, "invalid-command", "status"),
        ("GET", "/operations?cursor=x", None, 422, "invalid-command", "cursor"),
        ("GET", "/operations?colour=red", None, 422, "invalid-command", "colour"),
        ("GET", "/operations?requested_since=2026-11-23", None, 422, "invalid-command", "requested_since"),
        ("GET", "/checkpoints?age_seconds_min=-1", None, 422, "invalid-command", "age_seconds_min"),
        ("GET", "/operations/op-nowhere", None, 404, "operation-not-found", None),
        ("GET", "/checkpoints/cp-nowhere", None, 404, "checkpoint-not-found", None),
        ("GET", "/nowhere", None, 404, "not-found", None),
        ("DELETE", "/operations", None, 405, "method-not-allowed", None),
        ("POST", "/operations", {"kind": "c", "spec": {"x": "y" * 2**20}}, 413, "body-too-large", None),
    ],
)
async def test_refusals_are_problem_documents(
    running: Running, method: str, path: str, body: dict | None, status: int, code: str, field: str | None
) -> None:
    """Each refusal has a status, a code, words, what to do, and the field that is wrong."""
    response = await running.http.request(method, path, json=body)
    document = response.json()
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert document["fix"]
    if field is not None:
        assert field in [problem["field"] for problem in document["problems"]]


# --- reading --------------------------------------------------------------------------------------


async def test_operation_is_shown_the_moment_it_was_accepted(running: Running) -> None:
    """An operation that is not projected yet is folded from the log, with the same document as later."""
    await running.projected()
    queries, read_model = running.orchestrator.queries, running.orchestrator.queries._read_model

    class Behind:
        async def operation(self, _: str) -> None:
            return None

    await running.keep_state()
    operation_id = await ended(running)
    await running.until(operation_id, CheckpointRecorded)
    await running.projected()
    projected = await running.http.get(f"/operations/{operation_id}")
    queries._read_model = Behind()
    try:
        folded = await running.http.get(f"/operations/{operation_id}")
    finally:
        queries._read_model = read_model
    assert folded.status_code == 200
    assert folded.json() == projected.json()


async def test_operation_document_holds_what_people_ask(running: Running) -> None:
    """Progress, rate, time left, attempts, checkpoints, lineage and results are all there."""
    operation_id = await running.start(name="mine")
    await running.keep_state()
    await running.happen(operation_id, claimed(), started(), snapshot("cp-1", 50), progress(60))
    await running.until(operation_id, CheckpointRecorded)
    await running.projected()
    found = (await running.http.get(f"/operations/{operation_id}")).json()
    expected = {
        "operation_id": operation_id,
        "kind": "counter",
        "name": "mine",
        "status": "running",
        "unit": 60,
        "total_units": 100,
        "unit_name": "step",
        "units_per_second": 10.0,
        "eta_seconds": 4.0,
        "attempt": 1,
        "worker_id": "w-1",
        "parent_id": None,
        "root_id": operation_id,
        "checkpoint_id": "cp-1",
        "reason": None,
        "failure": None,
        "results": [],
        "children": [],
    }
    assert {key: found[key] for key in expected} == expected
    assert [attempt["attempt"] for attempt in found["attempts"]] == [1]
    (checkpoint,) = found["checkpoints"]
    assert (checkpoint["status"], checkpoint["artifacts"][0]["name"]) == ("recorded", "state.json")
    assert (await running.http.get("/checkpoints/cp-1")).json() == checkpoint


async def test_operations_are_listed_page_by_page(running: Running) -> None:
    """Newest first, filtered, each once, also when new ones come in between."""
    ids = [await running.start() for _ in range(7)]
    for operation_id in ids[:3]:
        await running.happen(operation_id, claimed(), completed())
    await running.projected()
    seen: list[str] = []
    cursor: str | None = None
    while True:
        parameters = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = (await running.http.get("/operations", params=parameters)).json()
        seen += [each["operation_id"] for each in page["operations"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        await running.start()
        await running.projected()
    assert seen == ids[::-1]
    done = (await running.http.get("/operations", params={"status": "completed"})).json()
    assert [each["operation_id"] for each in done["operations"]] == ids[2::-1]
    none = (await running.http.get("/operations", params={"kind": "training"})).json()
    assert none == {"operations": [], "next_cursor": None}


async def test_checkpoints_are_listed_with_filters(running: Running) -> None:
    """By operation, kind, reason and status, newest first, page by page."""
    await running.keep_state()
    first, second = await running.start(), await running.start()
    await running.happen(first, claimed(), snapshot("cp-1", 10), snapshot("cp-2", 20, reason="manual"))
    last = await running.happen(second, claimed(), snapshot("cp-3", 30))
    await running.until(second, CheckpointRecorded, after_sequence=last)
    for name in ("cp-1", "cp-2"):
        await running.until(first, CheckpointRecorded)
        assert name
    await running.projected()

    async def found(**parameters: object) -> list[str]:
        page = (await running.http.get("/checkpoints", params=parameters)).json()
        return [each["checkpoint_id"] for each in page["checkpoints"]]

    assert await found() == ["cp-3", "cp-2", "cp-1"]
    assert await found(operation_id=first) == ["cp-2", "cp-1"]
    assert await found(reason="manual") == ["cp-2"]
    assert await found(kind="counter", limit=1) == ["cp-3"]
    assert await found(status="refused") == []
    page = (await running.http.get("/checkpoints", params={"limit": 2})).json()
    assert await found(limit=2, cursor=page["next_cursor"]) == ["cp-1"]


async def test_workers_and_health(running: Running, tenant: StackEndpoints) -> None:
    """The live workers are listed, and readiness names the projector's lag."""
    beat = WorkerHeartbeat(
        worker_id="w-1",
        kind="counter",
        host="h",
        pid=1,
        slots=1,
        device="cpu",
        version="0",
        operations=(),
        started_at=EPOCH,
        seen_at=EPOCH,
    )
    await NatsFleet(running.orchestrator.connection, tenant.bus).beat(beat)
    workers = (await running.http.get("/workers")).json()["workers"]
    assert [worker["worker_id"] for worker in workers] == ["w-1"]
    assert (await running.http.get("/livez")).json() == {"status": "alive"}
    await running.start()
    sequence = await running.projected()
    ready = (await running.http.get("/readyz")).json()
    assert ready["status"] == "ready"
    assert ready["projector"] == {"sequence": sequence, "last_sequence": sequence, "lag_events": 0}


async def test_token_is_needed_where_it_is_set(tenant: StackEndpoints, tmp_path: Path) -> None:
    """Without the token nothing but health is answered."""
    token = "a-token-of-enough-characters"
    async with run_orchestrator(tenant, tmp_path, token=token) as running:
        refused = await running.http.get("/operations")
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        assert (await running.http.post("/operations", json={})).status_code == 401
        assert (await running.http.get("/livez")).status_code == 200
        headers = {"Authorization": f"Bearer {token}"}
        await running.projected()
        assert (await running.http.get("/operations", headers=headers)).status_code == 200


# --- stored commands ------------------------------------------------------------------------------
