"""G1 and G2 on the dashboard: cancelled at the very unit and resumed, by mouse and by keyboard alone."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.dashboard.browser import Visitor, opened_browser, press_until_focused, visitor
from tests.e2e.command_line import CommandLine
from tests.e2e.market import bars, write_bars
from tests.e2e.test_e2e_training_journey import SPEC, digests
from tests.support.stack import reachable_directory

pytestmark = pytest.mark.e2e
END_MILLISECONDS = 60_000
JOURNEYS = {
    "backtest": (5000, 10_000, ("--set", "data.name=walk", "--pace", "600")),
    "training": (30, 100, ("spec.json", "--pace", "5")),
}


@pytest.fixture(scope="module")
def stack() -> Iterator[tuple[CommandLine, str]]:
    """A stack of two workers of each kind with bars for both, and the address of its dashboard."""
    with reachable_directory() as place:
        command = CommandLine(place / "stack")
        up = command.json("up", "--detach", "--workers", "backtest=2", "--workers", "training=2")
        try:
            command("data", "add", "walk", str(write_bars(place / "walk.csv", bars(10_000))))
            command("data", "add", "short", str(write_bars(place / "short.csv", bars(300))))
            spec = {**SPEC, "data": {"name": "short"}}
            (place / "spec.json").write_text(json.dumps(spec))
            yield command, up["http_url"]
        finally:
            command("down")


@pytest.mark.parametrize("kind", JOURNEYS)
async def test_cancelled_and_resumed_by_mouse_and_by_keyboard_it_ends_as_undisturbed(
    stack: tuple[CommandLine, str], kind: str, tmp_path: Path
) -> None:
    """Both stop after exactly the unit that was typed, both go on, and all results are the same bytes."""
    milepost, url = stack
    at_unit, total, arguments = JOURNEYS[kind]

    def start(name: str, *words: str) -> str:
        return milepost.json("start", kind, *words, "--name", name)["operation_id"]

    undisturbed = await asyncio.to_thread(start, "undisturbed", *arguments[:-2])
    async with opened_browser() as browser, visitor(browser, url) as mouse, visitor(browser, url) as keyboard:
        await asyncio.to_thread(milepost.json, "wait", undisturbed)
        clicked = await asyncio.to_thread(start, f"{kind} by mouse", *arguments)
        await cancel_with_the_mouse(mouse, f"{kind} by mouse", at_unit)
        typed = await asyncio.to_thread(start, f"{kind} by keyboard", *arguments)
        await cancel_with_the_keyboard(keyboard, typed, at_unit)
        for person in (mouse, keyboard):
            header = person.page.locator("#operation-header")
            await expect(header.get_by_role("heading")).to_contain_text("cancelled", timeout=END_MILLISECONDS)
            await expect(header).to_contain_text(f"{at_unit:,} of {total:,}".replace(",", "\u202f"))
        await mouse.page.get_by_role("button", name="Resume…").click()
        await mouse.page.get_by_role("button", name="Resume it").click()
        await press_until_focused(keyboard.page, "open-resume-dialog")
        await keyboard.page.keyboard.press("Enter")
        await expect(keyboard.page.locator("#resume-dialog input")).to_be_focused()
        await keyboard.page.keyboard.press("Enter")
        children = [
            await completed_child(person, parent) for person, parent in ((mouse, clicked), (keyboard, typed))
        ]
        assert mouse.complaints == keyboard.complaints == []
    found = []
    for operation_id in (undisturbed, *children):
        place = tmp_path / operation_id
        await asyncio.to_thread(milepost, "results", operation_id, "--out", str(place))
        found.append(digests(place))
    assert found[0]
    assert found[0] == found[1] == found[2]


async def cancel_with_the_mouse(person: Visitor, name: str, at_unit: int) -> None:
    """From the list to the operation, and stop it after a unit."""
    page = person.page
    await person.visit("/ui/operations")
    await page.get_by_role("link", name=name).click()
    await until_running(page)
    await page.get_by_role("button", name="Cancel…").click()
    await page.get_by_label("Stop after").fill(str(at_unit))
    await page.get_by_role("button", name="Cancel it").click()


async def cancel_with_the_keyboard(person: Visitor, operation_id: str, at_unit: int) -> None:
    """The same without touching the mouse."""
    page = person.page
    await person.visit("/ui/operations")
    await expect(page.locator(f"#link-{operation_id}")).to_be_visible()
    await press_until_focused(page, f"link-{operation_id}")
    await page.keyboard.press("Enter")
    await until_running(page)
    await press_until_focused(page, "open-cancel-dialog")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Reason")).to_be_focused()
    for _ in range(2):  # past the ways to stop; what is typed chooses its own
        await page.keyboard.press("Tab")
    await page.keyboard.type(str(at_unit))
    await page.keyboard.press("Enter")


async def until_running(page: Page) -> None:
    heading = page.locator("#operation-header").get_by_role("heading")
    await expect(heading).to_contain_text("running", timeout=END_MILLISECONDS)


async def completed_child(person: Visitor, parent: str) -> str:
    """The operation that the browser was led to, once it has ended."""
    heading = person.page.locator("#operation-header").get_by_role("heading")
    await expect(heading).to_contain_text("completed", timeout=END_MILLISECONDS)
    child = person.page.url.rpartition("/")[2]
    assert child != parent
    return child
