"""The list of operations in a real browser."""

import pytest
from playwright.async_api import expect

from tests.dashboard.browser import Visitor
from tests.orchestrator.running import Running
from tests.orchestrator.stories import claimed, progress, started

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
    await page.get_by_role("searchbox").fill("statu:running")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("is no qualifier")
    person.complaints.clear()  # Chromium tells of the 422 in its console


async def test_rows_counts_and_new_operations_are_live(running: Running, person: Visitor) -> None:
    """What happens is on the page without a reload: progress, a status and its count, an operation that is new."""
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
    await running.happen(first, progress(42))
    await expect(row).to_contain_text("42 %")
    second = await running.start(name="weekly")
    await expect(page.locator("#rows tr").first).to_have_id(f"row-{second}")
    await expect(page.get_by_role("link", name="All 2")).to_be_visible()
    assert await person.violations() == []
