"""The list of operations in a real browser."""

import pytest
from playwright.async_api import expect

from tests.dashboard.browser import Visitor
from tests.orchestrator.running import Running
from tests.orchestrator.stories import EPOCH, claimed, progress, snapshot, started

pytestmark = pytest.mark.integration


async def test_an_empty_list_says_what_to_type(person: Visitor) -> None:
    """Nothing has been started: the page names the commands."""
    await person.visit("/")
    await expect(person.page).to_have_url(f"{person.url}/ui/operations")
    await expect(person.page.get_by_text("No operations yet")).to_be_visible()
    await expect(person.page.get_by_text("milepost start backtest spec.json")).to_be_visible()
    assert await person.violations() == []


async def test_operations_are_listed_counted_and_searched(running: Running, person: Visitor) -> None:
    """Counts by status are filters, words and qualifiers search, and what is wrong with a search is said."""
    await running.start(name="nightly")
    weekly = await running.start(name="weekly")
    await running.happen(weekly, claimed(), started(), progress(10))
    await running.projected()
    page = person.page
    await person.visit("/ui/operations")
    rows = page.locator("#rows tr")
    await expect(rows).to_have_count(2)
    await page.get_by_role("link", name="running 1").click()
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("weekly")
    await expect(page.get_by_role("searchbox")).to_have_value("status:running")
    await page.keyboard.press("/")
    await page.keyboard.type("night")
    await page.keyboard.press("Enter")
    await expect(rows).to_contain_text("nightly")
    assert await person.violations() == []
    await choose_columns(person)
    await keep_a_view(person)
    await page.get_by_role("searchbox").fill('status:failed "no such name"')
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Nothing fits this search")).to_be_visible()
    assert await person.violations() == []
    await page.get_by_role("link", name='"no such name"').click()
    await expect(page.get_by_role("searchbox")).to_have_value("status:failed")
    await page.get_by_role("searchbox").fill("statu:running")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("is no qualifier")
    person.complaints.clear()  # Chromium tells of the 422 in its console


async def choose_columns(person: Visitor) -> None:
    """What is chosen is in the address, beside the search, and there again the next time, also for a new page."""
    page = person.page
    heads = page.locator("thead th:not(.col-select)")
    await page.locator("#columns-menu summary").press("Enter")
    assert await person.violations() == []
    for name in ("Trend", "Rate", "Time left", "Last event"):
        await page.get_by_role("checkbox", name=name).uncheck()
    await page.get_by_role("checkbox", name="Reason").check()
    await page.get_by_role("button", name="Show", exact=True).click()
    shown = "progress.checkpoint.reason.requested"
    await expect(page).to_have_url(f"{person.url}/ui/operations?q=night&columns={shown}")
    names = ["Status", "Operation", "Progress", "Checkpoint", "Reason", "Requested"]
    await expect(heads).to_have_text(names)
    await person.visit("/ui/operations")
    await expect(page).to_have_url(f"{person.url}/ui/operations?columns={shown}")
    await expect(page.locator("#rows tr")).to_have_count(2)
    await page.get_by_role("link", name="Requested").click()
    await expect(page).to_have_url(f"{person.url}/ui/operations?order=asc&columns={shown}")
    await expect(heads).to_have_text(names)
    await page.locator("#columns-menu summary").click()
    await page.get_by_role("button", name="Usual ones").click()
    await expect(page).to_have_url(f"{person.url}/ui/operations?order=asc")
    await expect(heads).to_have_count(9)


async def keep_a_view(person: Visitor) -> None:
    """A view is an address with a name: kept, gone to, and forgotten, with the keyboard alone."""
    page = person.page
    await person.visit("/ui/operations?q=weekly&sort=name")
    summary = page.locator("#views-menu summary")
    await summary.press("Enter")
    await page.get_by_label("Name of this view").press_sequentially("<b>Mine</b>")
    await page.keyboard.press("Enter")
    await expect(summary).to_have_text("<b>Mine</b>")
    assert await person.violations() == []
    await page.keyboard.press("Escape")
    await expect(summary).to_be_focused()
    await person.visit("/ui/operations")
    await expect(summary).to_have_text("Views")
    await summary.press("Enter")
    await page.get_by_role("link", name="<b>Mine</b>").press("Enter")
    await expect(page).to_have_url(f"{person.url}/ui/operations?q=weekly&sort=name")
    await expect(page.locator("#rows tr")).to_have_count(1)
    await summary.press("Enter")
    await page.get_by_role("button", name="Forget <b>Mine</b>").press("Enter")
    await expect(page.locator("#views-own")).to_be_hidden()
    await expect(page.get_by_label("Name of this view")).to_be_focused()


async def test_rows_counts_and_new_operations_are_live(running: Running, person: Visitor) -> None:
    """What happens is on the page without a reload: progress, a status and its count, an operation that is new."""
    await running.keep_state()
    first = await running.start(name="nightly")
    await running.projected()
    page = person.page
    await person.visit("/ui/operations")
    await expect(page.locator("#connection")).to_have_text("live")
    row = page.locator(f"#row-{first}")
    await expect(row).to_contain_text("queued")
    await running.happen(first, claimed(), started(), progress(10))
    await expect(row).to_contain_text("running")
    await expect(row).to_contain_text("10 %")
    await expect(page.get_by_role("link", name="running 1")).to_be_visible()
    await expect(row.get_by_role("img", name="loss, now 5")).to_be_visible()
    await running.happen(first, progress(42), snapshot("cp-1", 42))
    await expect(row).to_contain_text("42 %")
    await expect(row.locator(".col-checkpoint time")).to_have_attribute("datetime", EPOCH.isoformat())
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    requested = row.locator(".col-requested")
    age = await requested.text_content()
    await expect(requested).not_to_have_text(age or "")  # a second has gone by
    assert asked == []
    second = await running.start(name="weekly")
    await expect(page.locator("#rows tr").first).to_have_id(f"row-{second}")
    await expect(page.get_by_role("link", name="All 2")).to_be_visible()
    assert await person.violations() == []
