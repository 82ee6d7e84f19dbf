"""Lineage and fleet in a real browser."""

import pytest
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.entrypoints.dashboard.lineage_layout import COLUMN_PIXELS, ROW_PIXELS, drawing_of
from milepost_runtime.bus.fleet import NatsFleet
from playwright.async_api import expect

from tests.dashboard.browser import Visitor
from tests.orchestrator.running import Running
from tests.orchestrator.stories import EPOCH, cancelled, claimed, snapshot, started


@pytest.mark.integration
async def test_a_lineage_grows_while_one_looks_and_says_what_changed(
    running: Running, person: Visitor
) -> None:
    """A resumed operation and a fork appear as linked boxes; the fork's setting is named before and after."""
    await running.keep_state()
    root = await running.start(name="nightly")
    await running.happen(root, claimed(), started(), snapshot("cp-1", 50), cancelled())
    await running.projected()
    page = person.page
    await person.visit(f"/ui/operations/{root}/lineage")
    await expect(page.locator("#connection")).to_have_text("live")
    await expect(page.locator("svg .node")).to_have_count(1)
    child = (await running.resume(root)).operation_id
    await expect(page.locator("svg .node")).to_have_count(2)
    fork = await running.http.post(f"/operations/{root}/fork", json={"changes": {"seconds": 2.5}})
    await expect(page.locator("svg .node")).to_have_count(3)
    row = page.locator("#lineage tbody tr", has_text=fork.json()["operation_id"][:11])
    await expect(row).to_contain_text("fork of")
    await expect(row).to_contain_text("seconds 0.5 2.5")
    assert await person.violations() == []
    await page.locator(f"#node-{child}").click()
    await expect(page).to_have_url(f"{person.url}/ui/operations/{child}/lineage")
    await expect(page.locator(f"#node-{child}")).to_have_attribute("aria-current", "true")


@pytest.mark.integration
async def test_workers_come_to_the_fleet_as_they_speak(
    running: Running, tenant: StackEndpoints, person: Visitor
) -> None:
    """Nobody is there, then a worker with one of two slots taken; what it runs is a link."""
    operation_id = await running.start(name="nightly")
    await running.projected()
    page = person.page
    await person.visit("/ui/fleet")
    await expect(page.get_by_text("No worker is alive")).to_be_visible()
    await expect(page.locator("#connection")).to_have_text("live")
    assert await person.violations() == []
    beat = WorkerHeartbeat(
        worker_id="w-1",
        kind="counter",
        host="h",
        pid=1,
        slots=2,
        device="cpu",
        version="0",
        operations=(operation_id,),
        started_at=EPOCH,
        seen_at=EPOCH,
    )
    await NatsFleet(running.orchestrator.connection, tenant.bus).beat(beat)
    await expect(page.locator("#worker-w-1")).to_contain_text("cpu")
    await expect(page.get_by_text("1 of 2 slots taken")).to_be_visible()
    assert await person.violations() == []
    await page.get_by_role("button", name="Drain w-1").click()
    await expect(page.get_by_role("dialog", name="Drain w-1")).to_be_visible()
    assert await person.violations() == []
    await page.get_by_label("What it runs now").select_option(
        "saves a checkpoint and goes on at another worker"
    )
    await page.get_by_label("Reason").fill("new disks")
    await page.keyboard.press("Enter")
    await expect(page.locator("#notice")).to_contain_text("takes nothing new")
    drain = (await running.orchestrator.dispatching.policy()).drained_workers["w-1"]
    assert (drain.release, drain.reason) == (True, "new disks")
    await NatsFleet(running.orchestrator.connection, tenant.bus).beat(
        beat.model_copy(update={"drain": drain})
    )
    await expect(page.locator("#worker-w-1")).to_contain_text(f"draining by {drain.requested_by}: new disks")
    await page.get_by_role("button", name="Undrain w-1").click()
    await expect(page.locator("#notice")).to_contain_text("takes work again")
    assert (await running.orchestrator.dispatching.policy()).drained_workers == {}
    assert await person.violations() == []
    await page.locator("#worker-w-1").get_by_role("link").click()
    await expect(page).to_have_url(f"{person.url}/ui/operations/{operation_id}")


def operation(operation_id: str, parent_id: str | None = None) -> dict:
    return {
        "operation_id": operation_id,
        "parent_id": parent_id,
        "name": None,
        "status": "completed",
        "unit": 1,
        "total_units": 2,
        "unit_name": "step",
        "relation": "resume" if parent_id else None,
        "origin_unit": 1 if parent_id else None,
    }


@pytest.mark.unit
def test_a_drawing_has_a_column_for_each_generation_and_a_row_for_each_branch() -> None:
    """A chain stays in its row, a second child begins a new one below all that descends from the first."""
    tree = [
        operation("a"),
        operation("b", "a"),
        operation("c", "a"),
        operation("d", "b"),
        operation("e", "b"),
    ]
    places = {
        node.operation["operation_id"]: (node.x // COLUMN_PIXELS, node.y // ROW_PIXELS)
        for node in drawing_of(tree).nodes
    }
    assert places == {"a": (0, 0), "b": (1, 0), "d": (2, 0), "e": (2, 1), "c": (1, 2)}


@pytest.mark.unit
def test_a_long_chain_is_drawn() -> None:
    """Three hundred resumes in a row, each in the next column."""
    chain = [operation("o0"), *(operation(f"o{at}", f"o{at - 1}") for at in range(1, 300))]
    drawing = drawing_of(chain)
    assert (len(drawing.nodes), drawing.width, drawing.height) == (300, 300 * COLUMN_PIXELS, ROW_PIXELS)
