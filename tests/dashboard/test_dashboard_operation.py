"""The page of one operation in a real browser: live, acted on, and safe from what others wrote."""

import re

import pytest
from milepost_contracts.events import CancelRequested, CheckpointRequested, Failed, Resumed
from milepost_contracts.failures import Failure, FailureCode
from playwright.async_api import Page, expect

from tests.dashboard.browser import Visitor, press_until_focused
from tests.orchestrator.running import Running
from tests.orchestrator.stories import (
    cancelled,
    claimed,
    completed,
    progress,
    recorded_checkpoint,
    requested,
    snapshot,
    started,
)

pytestmark = pytest.mark.integration


async def opened(person: Visitor, running: Running, operation_id: str) -> Page:
    """The operation's page, live."""
    await running.projected()
    await person.visit(f"/ui/operations/{operation_id}")
    await expect(person.page.locator("#connection")).to_have_text("live")
    return person.page


async def test_progress_curves_checkpoints_and_the_end_are_live(running: Running, person: Visitor) -> None:
    """From queued to completed without a reload: how far it is, its loss, its checkpoint, its results."""
    await running.keep_state()
    operation_id = await running.start(name="nightly")
    page = await opened(person, running, operation_id)
    await expect(page.get_by_text("no worker of kind counter is alive")).to_be_visible()
    await running.happen(operation_id, claimed(), started(), progress(10))
    await expect(page.locator("#operation-progress")).to_contain_text("10 of 100 steps")
    await expect(page.locator("#operation-header")).to_contain_text("running")
    curve = page.get_by_role("img", name="loss over steps")
    await expect(curve).to_have_attribute("aria-label", "loss over steps: loss 5, lowest 5, highest 5")
    await running.happen(operation_id, progress(40))
    await expect(curve).to_have_attribute("aria-label", "loss over steps: loss 20, lowest 5, highest 20")
    await page.get_by_text("The same as a table").click()
    await expect(page.locator("#curve-table tbody tr")).to_have_text(["4020", "105"])
    await running.happen(operation_id, snapshot("cp-1", 50), recorded_checkpoint())
    await expect(page.locator("#checkpoint-cp-1")).to_contain_text("verified")
    assert await person.violations() == []
    await running.happen(operation_id, completed())
    await expect(page.locator("#operation-header")).to_contain_text("completed")
    await expect(page.get_by_role("link", name="value.json")).to_be_visible()
    assert await person.violations() == []


async def test_a_curve_says_its_newest_value_while_nobody_points_at_another(
    running: Running, person: Visitor
) -> None:
    """When it is live, once the mouse has left, and on a page that was opened when all was over."""
    first = [re.compile(r"^step:?\s*10$"), re.compile(r"^loss:?\s*5$")]
    newest = [re.compile(r"^step:?\s*40$"), re.compile(r"^loss:?\s*20$")]
    operation_id = await running.start()
    await running.happen(operation_id, claimed(), started(), progress(10))
    page = await opened(person, running, operation_id)
    curve = page.get_by_role("img", name="loss over steps")
    words = curve.locator(".u-legend .u-series")
    await expect(words).to_have_text(first)
    await running.happen(operation_id, progress(40), completed())
    await expect(words).to_have_text(newest)
    await curve.locator(".u-over").hover(position={"x": 2, "y": 20})
    await expect(words).to_have_text(first)
    await page.get_by_role("heading", name="Curves").hover()
    await expect(words).to_have_text(newest)
    await opened(person, running, operation_id)
    await expect(words).to_have_text(newest)


async def test_it_is_cancelled_saved_pinned_and_resumed_with_the_mouse(
    running: Running, person: Visitor
) -> None:
    """Each button sends its command; resuming leads to the new operation, and what is refused is said."""
    await running.keep_state()
    operation_id = await running.start(name="nightly")
    await running.happen(operation_id, claimed(), started(), progress(10), snapshot("cp-1", 50))
    page = await opened(person, running, operation_id)
    await page.get_by_role("button", name="Checkpoint now").click()
    await expect(page.locator("#notice")).to_contain_text("saved at the next unit")
    await running.until(operation_id, CheckpointRequested)
    await page.get_by_role("button", name="Cancel…").click()
    await page.get_by_label("Reason").fill("enough")
    await page.get_by_role("button", name="Cancel it").click()
    await expect(page.locator("#operation-header")).to_contain_text("cancelling")
    asked = await running.until(operation_id, CancelRequested)
    assert (asked.event.reason, asked.event.deadline_at) == ("enough", None)
    await page.get_by_role("button", name="Stop sooner…").click()
    await page.get_by_label("Stop within").fill("soon")
    await page.get_by_role("button", name="Cancel it").click()
    await expect(page.locator("#notice")).to_contain_text("write 30m, 12h, 7d or 2w")
    person.complaints.clear()  # Chromium tells of the 422 in its console
    await page.get_by_role("button", name="Stop sooner…").click()
    await page.get_by_label("Stop within").fill("10m")
    assert await person.violations() == []
    await page.get_by_role("button", name="Cancel it").click()
    sooner = await running.until(operation_id, CancelRequested, after_sequence=asked.sequence)
    assert sooner.event.deadline_at is not None
    await running.happen(operation_id, cancelled())
    await expect(page.get_by_role("button", name="Resume…")).to_be_visible()
    await page.get_by_role("button", name="Pin the checkpoint at 50").click()
    await expect(page.locator("#checkpoint-cp-1")).to_contain_text("pinned")
    await page.get_by_role("button", name="Resume…").click()
    await page.get_by_role("button", name="Resume it").click()
    child = (await running.until(operation_id, Resumed)).event.child_id
    await expect(page).to_have_url(f"{person.url}/ui/operations/{child}")
    await expect(page.locator("#operation-header")).to_contain_text("Resume of")


async def test_it_is_cancelled_and_resumed_with_the_keyboard_alone(running: Running, person: Visitor) -> None:
    """Tab, Enter and typing lead from the list to the cancelled operation and on to the resumed one."""
    await running.keep_state()
    operation_id = await running.start(name="nightly")
    await running.happen(operation_id, claimed(), started(), progress(10), snapshot("cp-1", 50))
    await running.projected()
    page = person.page
    await person.visit("/ui/operations")
    await press_until_focused(page, f"link-{operation_id}")
    await page.keyboard.press("Enter")
    await expect(page.locator("#connection")).to_have_text("live")
    await press_until_focused(page, "open-cancel-dialog")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Reason")).to_be_focused()
    await page.keyboard.type("enough")
    await page.keyboard.press("Enter")
    await expect(page.locator("#operation-header")).to_contain_text("cancelling")
    await running.happen(operation_id, cancelled())
    await expect(page.get_by_role("button", name="Resume…")).to_be_visible()
    await press_until_focused(page, "open-resume-dialog")
    await page.keyboard.press("Enter")
    await expect(page.locator("#resume-dialog input")).to_be_focused()
    await page.keyboard.press("Enter")
    child = (await running.until(operation_id, Resumed)).event.child_id
    await expect(page).to_have_url(f"{person.url}/ui/operations/{child}")


async def test_a_deletion_is_asked_about_first(running: Running, person: Visitor) -> None:
    """No keeps the checkpoint, Yes deletes it; a pinned one cannot be deleted at all."""
    await running.keep_state()
    operation_id = await running.start(name="nightly")
    await running.happen(operation_id, claimed(), started(), snapshot("cp-1", 50), cancelled())
    page = await opened(person, running, operation_id)
    delete = page.get_by_role("button", name="Delete the checkpoint at 50")
    await delete.click()
    await page.get_by_role("button", name="No", exact=True).click()
    await expect(page.locator("#checkpoint-cp-1")).to_be_visible()
    await delete.click()
    await page.get_by_role("button", name="Yes", exact=True).click()
    await expect(page.locator("#checkpoint-cp-1")).to_have_count(0)
    await expect(page.get_by_text("None was kept.")).to_be_visible()


SCRIPT = '"><img src=x onerror=document.title="caught"><script>document.title="caught"</script>'


async def test_what_others_wrote_is_text(running: Running, person: Visitor) -> None:
    """Markup in a name, a spec, a reason and a failure is shown as it was written, on every page that shows it."""
    operation_id = "op-of-somebody"
    asked = requested(operation_id, name=SCRIPT, spec={"units": 100, "text": SCRIPT, SCRIPT: 1})
    await running.happen(operation_id, asked, claimed(), started())
    page = await opened(person, running, operation_id)
    await expect(page.get_by_role("heading", level=1)).to_contain_text(SCRIPT)
    failure = Failure(code=FailureCode.ERROR, message=SCRIPT)
    await running.happen(operation_id, Failed(attempt=1, unit=0, failure=failure))
    await expect(page.locator("#attempts-and-results")).to_contain_text(SCRIPT)
    for shown in ("", "/events?form=full", "/events?form=json", "/lineage", "/replay"):
        await person.visit(f"/ui/operations/{operation_id}{shown}")
        await expect(page.locator("main")).to_contain_text("onerror=document.title=")
        assert await page.title() != "caught"
        text = (await running.http.get(f"/ui/operations/{operation_id}{shown}")).text
        assert "<img src=x" not in text
        assert "<script>document" not in text
    await person.visit("/ui/operations")
    await expect(page.locator("#rows")).to_contain_text(SCRIPT)
    await running.start(name=f"{SCRIPT}2")
    await expect(page.locator("#rows tr")).to_have_count(2)
    assert await page.title() == "Operations · Milepost"
    assert await page.locator("img[src=x]").count() == 0


async def test_a_command_from_anywhere_else_is_refused(running: Running) -> None:
    """Without the header that only a page of ours sets, or from another site, nothing happens: 403."""
    operation_id = await running.start()
    path = f"/ui/operations/{operation_id}/cancel"
    for headers in ({}, {"HX-Request": "true", "Sec-Fetch-Site": "cross-site"}):
        answer = await running.http.post(path, headers=headers)
        assert answer.status_code == 403
    await running.projected()
    assert (await running.http.get(f"/operations/{operation_id}")).json()["status"] == "queued"
