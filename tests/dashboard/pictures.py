"""Pictures of every page, in both themes and at three widths, on a stack with work of both kinds in it.

    .venv/bin/python -m tests.dashboard.pictures DIRECTORY

Those of `docs/images` are the wide ones. Nothing here passes or fails: somebody has to look at them.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from tests.dashboard.browser import opened_browser, visitor
from tests.e2e.command_line import CommandLine
from tests.e2e.market import bars, write_bars
from tests.e2e.test_e2e_training_journey import SPEC
from tests.support.stack import reachable_directory

SIZES = {"": (1280, 800), "-narrow": (700, 900), "-phone": (390, 844)}
WAIT_MILLISECONDS = 60_000
SETTLE_MILLISECONDS = 400
"""Curves are drawn a frame after their points are there; no event says so."""


def main() -> None:
    """Take them."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    with reachable_directory() as place:
        milepost = CommandLine(place / "stack")
        workers = ("--workers", "backtest=2", "--workers", "training=1")
        url = milepost.json("up", "--detach", *workers)["http_url"]
        try:
            pages = _work(milepost, place)
            asyncio.run(_pictures(url, pages, directory))
        finally:
            milepost("down")


def _work(milepost: CommandLine, place: Path) -> dict[str, str]:
    """Let operations of every status be there; return the pages by name."""
    milepost("data", "add", "walk", str(write_bars(place / "walk.csv", bars(6_000))))
    milepost("data", "add", "short", str(write_bars(place / "short.csv", bars(300))))
    spec = place / "spec.json"
    spec.write_text(json.dumps({**SPEC, "data": {"name": "short"}, "epochs": 60}))

    def start(*words: str) -> str:
        return milepost.json("start", *words)["operation_id"]

    def backtest(name: str, *words: str) -> str:
        return start("backtest", "--set", "data.name=walk", "--name", name, *words)

    saving = ("--checkpoint-every-units", "5")
    training = start("training", str(spec), "--name", "next-hour direction", "--pace", "20", *saving)
    stopped, left = (backtest(name, "--pace", "2000") for name in ("stopped halfway", "left as it is"))
    for each, bar in ((stopped, "3500"), (left, "5000")):
        milepost.until_running(each)
        milepost("cancel", each, "--at-unit", bar, "--reason", "looked wrong")
        milepost("wait", each, code=1)
    child = milepost.json("resume", stopped, "--name", "stopped halfway, goes on")["operation_id"]
    forked = milepost.json("fork", stopped, "--set", "commission_rate=0.002", "--name", "dearer")
    for each in (child, forked["operation_id"], training):
        milepost("wait", each)
    running = backtest("walk with the market", "--pace", "150", "--checkpoint-every-units", "500")
    start("training", str(spec), "--name", "needs a GPU", "--needs-gpus", "1")
    milepost.until_running(running)
    path = f"/ui/operations/{running}"
    family = f"/ui/operations/{stopped}"
    return {
        "operations": "/ui/operations",
        "empty": "/ui/operations?q=name%3Anothing+kind%3Atraining",
        "operation": f"/ui/operations/{training}",
        "running": path,
        "cancelled": f"/ui/operations/{left}",
        "events": f"/ui/operations/{training}/events",
        "lineage": f"{family}/lineage",
        "replay": f"{family}/replay",
        "fork": f"{family}/fork",
        "fleet": "/ui/fleet",
        "system": "/ui/system",
        "login": "/ui/login",
    }


async def _pictures(url: str, pages: dict[str, str], directory: Path) -> None:
    async with opened_browser() as browser:
        for theme in ("light", "dark"):
            for suffix, (width, height) in SIZES.items():
                async with visitor(browser, url, theme=theme, width=width, height=height) as person:
                    for name, path in pages.items():
                        await person.visit(path)
                        await _taken(person.page, directory / f"dashboard-{name}-{theme}{suffix}.png")
                    if theme == "light":
                        await _dialogs(person.page, url, pages, directory, suffix)


async def _taken(page: Page, path: Path, **options: Any) -> None:
    if await page.locator("[sse-connect]").count():
        await expect(page.locator("#connection .words")).to_have_text("live", timeout=WAIT_MILLISECONDS)
    await page.wait_for_timeout(SETTLE_MILLISECONDS)
    await page.screenshot(path=path, **options)


async def _dialogs(page: Page, url: str, pages: dict[str, str], directory: Path, suffix: str) -> None:
    openers = {
        "cancel": (pages["running"], "#open-cancel-dialog"),
        "resume": (pages["cancelled"], "#open-resume-dialog"),
        "hold": ("/ui/system", "[data-opens=hold-dialog]"),
        "limit": ("/ui/system", "[data-opens=limit-dialog]"),
        "cleanup": ("/ui/system", "[data-opens=cleanup-dialog]"),
        "drain": ("/ui/fleet", "[data-opens=drain-dialog]"),
        "views": ("/ui/operations", "#views-menu summary"),
        "columns": ("/ui/operations", "#columns-menu summary"),
    }
    for name, (path, opener) in openers.items():
        await page.goto(f"{url}{path}")
        found = page.locator(opener).first
        if await found.count():
            await found.click()
        await _taken(page, directory / f"dialog-{name}{suffix}.png")
    for name in ("cancel", "resume", "delete"):
        await page.goto(f"{url}/ui/operations")
        await page.locator("#select-shown").check(force=True) if not suffix else await _each_selected(page)
        await page.locator(f"#bulk-open-{name}").click()
        await _taken(page, directory / f"dialog-bulk-{name}{suffix}.png")


async def _each_selected(page: Page) -> None:
    for box in await page.locator("[data-select]").all():
        await box.check()


if __name__ == "__main__":
    main()
