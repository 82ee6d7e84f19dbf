"""The timeline of an operation in a real browser."""

import json

import pytest
from milepost_contracts.events import CheckpointRecorded
from playwright.async_api import expect

from tests.dashboard.browser import Visitor
from tests.orchestrator.running import Running
from tests.orchestrator.stories import claimed, progress, snapshot, started

pytestmark = pytest.mark.integration


async def test_a_timeline_is_live_filtered_and_shown_in_three_ways(running: Running, person: Visitor) -> None:
    """Events come as they happen; names filter them, progress only when asked for; compact, full or JSON."""
    await running.keep_state()
    operation_id = await running.start(name="nightly")
    await running.projected()
    page = person.page
    await person.visit(f"/ui/operations/{operation_id}/events")
    events = page.locator(".timeline li")
    await expect(events).to_have_count(1)
    await running.happen(operation_id, claimed(), started(), progress(10), snapshot("cp-1", 50))
    await expect(page.locator("[data-event=state-snapshot]")).to_contain_text("cp-1 at 50, periodic, 11 B")
    await expect(page.locator("[data-event=progress]")).to_have_count(0)
    await page.get_by_role("link", name="With progress").click()
    await expect(page.locator("[data-event=progress]")).to_contain_text("10 of 100, loss 5")
    await running.happen(operation_id, progress(60))
    await expect(page.locator("[data-event=progress]")).to_have_count(2)
    await page.get_by_role("link", name="claimed", exact=True).click()
    await expect(events).to_have_count(1)
    await page.get_by_role("link", name="Full").click()
    await expect(page.locator(".event-fields")).to_contain_text("worker_id")
    await page.get_by_role("link", name="JSON").first.click()
    await expect(page.locator(".timeline pre")).to_contain_text('"event": "claimed"')
    assert await person.violations() == []
    await running.until(operation_id, CheckpointRecorded)
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="All as JSON lines").click()
    download = await downloading.value
    assert download.suggested_filename == f"{operation_id}-events.jsonl"
    lines = (await download.path()).read_text(encoding="utf-8").splitlines()
    listed = await running.http.get(f"/operations/{operation_id}/events", params={"limit": 200})
    assert [json.loads(line) for line in lines] == listed.json()["events"]
    assert len(lines) == 7
