"""A real browser on the dashboard's pages, and what it must never say."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, BrowserContext, Page, Playwright, async_playwright

AXE = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"
WAIT_MILLISECONDS = 20_000
NAMES = ("chromium", "chromium-browser", "google-chrome")
Theme = Literal["light", "dark"]


class NoBrowserError(Exception):
    """There is no Chromium; the pages are not shown to work without one."""


def chromium_path() -> str:
    """Where Chromium is."""
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    raise NoBrowserError(
        "Chromium is needed: `apt-get install chromium` (`make install` does it for root on Debian)"
    )


@asynccontextmanager
async def opened_browser() -> AsyncIterator[Browser]:
    """Yield a browser; it is closed at the end."""
    async with async_playwright() as playwright:
        browser = await launched(playwright)
        try:
            yield browser
        finally:
            await browser.close()


async def launched(playwright: Playwright) -> Browser:
    return await playwright.chromium.launch(
        executable_path=chromium_path(), args=["--no-sandbox", "--disable-dev-shm-usage"]
    )


@dataclass
class Visitor:
    """One person with a browser window; complaints of the browser are kept."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    """Errors of the console, violations of the policy, requests to anywhere else."""

    async def visit(self, path: str) -> None:
        await self.page.goto(f"{self.url}{path}")

    async def violations(self) -> list[str]:
        """What axe finds on the page, and where."""
        await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]


@asynccontextmanager
async def visitor(
    browser: Browser, url: str, *, theme: Theme = "light", width: int = 1280, height: int = 800
) -> AsyncIterator[Visitor]:
    """Yield a visitor; at the end the browser must have had nothing to complain about."""
    context = await browser.new_context(
        color_scheme=theme,
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
        timezone_id="Europe/Berlin",
        locale="en-GB",
    )
    context.set_default_timeout(WAIT_MILLISECONDS)
    try:
        yield await _watched(context, url)
    finally:
        await context.close()


async def _watched(context: BrowserContext, url: str) -> Visitor:
    page = await context.new_page()
    found = Visitor(page, url)
    page.on("pageerror", lambda error: found.complaints.append(f"error: {error}"))
    page.on(
        "console",
        lambda message: (
            found.complaints.append(f"{message.type}: {message.text}")
            if message.type in ("error", "warning")
            else None
        ),
    )
    page.on(
        "request",
        lambda request: (
            found.complaints.append(f"external: {request.url}") if not request.url.startswith(url) else None
        ),
    )
    return found


FOCUS = """() => {
    const element = document.activeElement;
    return [element.tagName, element.id, getComputedStyle(element).outlineStyle];
}"""


async def press_until_focused(page: Page, element_id: str) -> None:
    """Go on with Tab as far as an element; on the way one always sees where one is."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        tag, found, outline = await page.evaluate(FOCUS)
        assert outline != "none" or tag == "BODY", found  # after the last element the browser's own ones come
        if found == element_id:
            return
    raise AssertionError(f"Tab does not lead to {element_id}")
