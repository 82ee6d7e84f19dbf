"""Parts of one operation over HTTP: metrics, lineage, results, and what it waits for."""

import math
from dataclasses import replace

import httpx
import pytest
from milepost_contracts.commands import CancelOperation
from milepost_contracts.events import Completed, Progress
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.application.lineage_tree import differences
from milepost_orchestrator.entrypoints.access import AccessTokens
from milepost_orchestrator.entrypoints.http.application import create_app
from milepost_orchestrator.entrypoints.service import http_ports
from milepost_runtime.bus.fleet import NatsFleet
from milepost_runtime.store.directory import DirectoryArtifactStore
from sqlalchemy import text

from tests.orchestrator.running import Running
from tests.orchestrator.stories import EPOCH, artifact, cancelled, claimed, completed, snapshot, started

pytestmark = pytest.mark.integration
POINTS = 5000
REPORT = b"<p>good</p>"


def reported(unit: int, **metrics: float) -> Progress:
    return Progress(attempt=1, unit=unit, total_units=100, units_per_second=1.0, metrics=metrics)


async def metrics(running: Running, operation_id: str, **parameters: object) -> dict:
    response = await running.http.get(f"/operations/{operation_id}/metrics", params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


async def test_metrics_come_whole_and_then_as_what_came_since(running: Running) -> None:
    """All points in order, by name when asked, and after a sequence exactly the newer ones; also NaN is told."""
    operation_id = await running.start()
    first = [reported(1, loss=3.0, accuracy=0.1), reported(2, loss=math.nan), reported(3, loss=-math.inf)]
    await running.happen(operation_id, claimed(), started(), *first)
    await running.projected()
    found = await metrics(running, operation_id)
    accuracy, loss = found["series"]
    assert accuracy == {"name": "accuracy", "units": [1], "values": [0.1], "attempts": [1], "points_total": 1}
    assert (loss["units"], loss["values"]) == ([1, 2, 3], [3.0, "NaN", "-Infinity"])
    assert (await metrics(running, operation_id, name="loss"))["series"] == [loss]
    nothing = await metrics(running, operation_id, after=found["sequence"])
    assert nothing == {
        "operation_id": operation_id,
        "series": [],
        "sequence": found["sequence"],
        "more": False,
    }

    await running.happen(operation_id, *(reported(unit, loss=1.0, accuracy=0.5) for unit in range(4, 14)))
    await running.projected()
    units: list[int] = []
    after, more = found["sequence"], True
    while more:
        newer = await metrics(running, operation_id, after=after, points=8)
        units += [unit for each in newer["series"] if each["name"] == "loss" for unit in each["units"]]
        assert {name for each in newer["series"] for name in [each["name"]]} <= {"accuracy", "loss"}
        after, more = newer["sequence"], newer["more"]
    assert units == list(range(4, 14))
    missing = await running.http.get("/operations/op-nowhere/metrics")
    assert (missing.status_code, missing.json()["code"]) == (404, "operation-not-found")


async def test_long_curves_are_thinned_out_and_keep_their_extremes(running: Running) -> None:
    """Of five thousand points at most three hundred come, with both ends, the one spike and the one dip."""
    operation_id = await running.start()
    await running.projected()
    async with running.orchestrator.engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO metrics (operation_id, name, sequence, attempt, unit, value, time) "
                "SELECT :id, 'loss', n, 1, n, CASE n WHEN 1234 THEN 99 WHEN 3210 THEN -99 WHEN 7 THEN 'NaN' "
                "ELSE sin(n) END, now() FROM generate_series(1, CAST(:points AS int)) AS n"
            ),
            {"id": operation_id, "points": POINTS},
        )
    (loss,) = (await metrics(running, operation_id, points=300))["series"]
    assert 150 < len(loss["units"]) <= 300
    assert loss["points_total"] == POINTS
    assert loss["units"] == sorted(set(loss["units"]))
    assert (loss["units"][0], loss["units"][-1]) == (1, POINTS)
    values = dict(zip(loss["units"], loss["values"], strict=True))
    assert (values[1234], values[3210]) == (99, -99)
    assert values[1] == pytest.approx(math.sin(1))


async def test_lineage_is_the_whole_tree(running: Running) -> None:
    """From any of its operations: parents first, the unit each went on from, and what is set otherwise."""
    await running.keep_state()
    root = await running.start(name="root")
    await running.happen(root, claimed(), started(), snapshot("cp-1", 50))
    await running.client.request(CancelOperation(operation_id=root))
    await running.happen(root, cancelled())
    verdict = await running.resume(root)
    assert verdict.verdict == "accepted", verdict
    child = verdict.operation_id
    await running.projected()
    for each in (root, child):
        tree = (await running.http.get(f"/operations/{each}/lineage")).json()
        assert (tree["root_id"], tree["more"]) == (root, False)
        assert [node["operation_id"] for node in tree["operations"]] == [root, child]
        node = tree["operations"][1]
        assert (node["parent_id"], node["origin_checkpoint_id"], node["origin_unit"]) == (root, "cp-1", 50)
        assert node["changes"] == []
    assert (await running.http.get("/operations/op-nowhere/lineage")).status_code == 404


def test_differences_are_named_by_path() -> None:
    """Values that differ, that were added and that were removed, each with both sides."""
    before = {"model": {"hidden": 8, "kind": "lstm"}, "seed": 1, "gone": True}
    after = {"model": {"hidden": 16, "kind": "lstm"}, "seed": 1, "new": [1]}
    assert list(differences(before, after)) == [
        {"field": "gone", "before": True, "after": None},
        {"field": "model.hidden", "before": 8, "after": 16},
        {"field": "new", "before": None, "after": [1]},
    ]


async def finished_with(running: Running, content: bytes) -> str:
    operation_id = await running.start()
    file = artifact(content, "report.html").model_copy(update={"media_type": "text/html"})
    done = Completed(attempt=1, unit=100, artifacts=(file,), summary={})
    await running.happen(operation_id, claimed(), done)
    await running.projected()
    return operation_id


async def test_results_are_fetched_from_the_store_itself(running: Running) -> None:
    """Listed with name, size and type; each address leads to a presigned one with exactly the bytes."""
    operation_id = await finished_with(running, REPORT)
    running._put(REPORT, "report.html")
    listed = (await running.http.get(f"/operations/{operation_id}/results")).json()
    (file,) = listed["results"]
    assert (file["name"], file["size_bytes"], file["media_type"]) == ("report.html", len(REPORT), "text/html")
    redirect = await running.http.get(file["url"])
    assert redirect.status_code == 307
    async with httpx.AsyncClient(trust_env=False) as store:
        assert (await store.get(redirect.headers["location"])).content == REPORT
    missing = await running.http.get(f"/operations/{operation_id}/results/other.html")
    assert (missing.status_code, missing.json()["code"]) == (404, "result-not-found")
    gone = await finished_with(running, b"never stored")
    refused = await running.http.get(f"/operations/{gone}/results/report.html")
    assert (refused.status_code, refused.json()["code"]) == (410, "artifacts-missing")


async def test_results_of_a_directory_are_sent_verified(running: Running, tmp_path) -> None:
    """A store without addresses: the bytes come from the orchestrator, and damaged ones are refused."""
    store = DirectoryArtifactStore(tmp_path / "store")
    path = tmp_path / "report.html"
    path.write_bytes(REPORT)
    reference = store.put_file(path, name="report.html", media_type="text/html")
    operation_id = await finished_with(running, REPORT)
    ports = replace(http_ports(running.orchestrator), store=store)
    transport = httpx.ASGITransport(create_app(ports, AccessTokens()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        found = await client.get(f"/operations/{operation_id}/results/report.html")
        assert (found.status_code, found.content) == (200, REPORT)
        assert found.headers["content-disposition"] == 'attachment; filename="report.html"'
        store.put_document(reference.key, b"<p>evil</p>")
        damaged = await client.get(f"/operations/{operation_id}/results/report.html")
        assert (damaged.status_code, damaged.json()["code"]) == (410, "artifacts-missing")


async def test_what_an_operation_waits_for_is_said(running: Running, tenant: StackEndpoints) -> None:
    """No worker of the kind, all of them busy, one about to claim, one not heard of, and nothing when it ended."""

    async def code(operation_id: str) -> str | None:
        await running.projected()
        waiting = (await running.http.get(f"/operations/{operation_id}")).json()["waiting"]
        return waiting["code"] if waiting else None

    def beat(operations: tuple[str, ...]) -> WorkerHeartbeat:
        return WorkerHeartbeat(
            worker_id="w-1",
            kind="counter",
            host="h",
            pid=1,
            slots=1,
            device="cpu",
            version="0",
            operations=operations,
            started_at=EPOCH,
            seen_at=EPOCH,
        )

    fleet = NatsFleet(running.orchestrator.connection, tenant.bus)
    operation_id = await running.start()
    assert await code(operation_id) == "no-worker"
    await fleet.beat(beat(("op-other",)))
    assert await code(operation_id) == "workers-busy"
    await fleet.beat(beat(()))
    assert await code(operation_id) == "unclaimed"
    await running.happen(operation_id, claimed(worker_id="w-1"))
    assert await code(operation_id) is None
    await fleet.leave("w-1")
    assert await code(operation_id) == "worker-silent"
    await running.happen(operation_id, completed())
    assert await code(operation_id) is None
