"""What must hold on every page: both themes, a phone, the weight, the policy, a server that comes back."""

import gzip
import os
import re
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.entrypoints.dashboard.assets import load_assets
from playwright.async_api import Browser, expect

from tests.dashboard.browser import visitor
from tests.orchestrator.running import Running, run_orchestrator
from tests.orchestrator.stories import (
    cancelled,
    claimed,
    progress,
    recorded_checkpoint,
    snapshot,
    started,
)

LOADS = 100 if int(os.environ.get("MILEPOST_FAULT_ROUNDS", "0")) else 12
"""All hundred by `make faults`."""
TRANSFER_BYTES_MAX = 200 * 1024
HEAL_MILLISECONDS = 3000


async def one_of_each(running: Running) -> list[str]:
    """Every kind of page, with something on it."""
    await running.keep_state()
    operation_id = await running.start(name="a name that is long enough to need a second line on a telephone")
    story = (claimed(), started(), progress(10), snapshot("cp-1", 50), recorded_checkpoint(), cancelled())
    await running.happen(operation_id, *story)
    await running.start(name="waiting")
    await running.projected()
    path = f"/ui/operations/{operation_id}"
    return [
        "/ui/operations",
        "/ui/operations?q=nothing",
        path,
        f"{path}/events?form=full",
        f"{path}/lineage",
        f"{path}/replay",
        f"{path}/fork",
        "/ui/fleet",
        "/ui/system",
        "/ui/login",
    ]


@pytest.mark.integration
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_and_nothing_is_cut_off(
    running: Running, browser: Browser, theme: str
) -> None:
    """Every page, in both themes, wide and on a telephone: no violation, no complaint, no sideways scrolling."""
    url = str(running.http.base_url).rstrip("/")
    for width, height in ((1280, 800), (390, 844)):
        async with visitor(browser, url, theme=theme, width=width, height=height) as person:
            for path in await one_of_each(running):
                await person.visit(path)
                assert await person.violations() == [], path
                scrolled = await person.page.evaluate(
                    "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                )
                assert scrolled == 0, path
            assert person.complaints == []


@pytest.mark.integration
async def test_the_theme_is_chosen_and_kept(running: Running, browser: Browser) -> None:
    """The switch beats the system's theme, also after a reload, and the server sends it: nothing flashes."""
    url = str(running.http.base_url).rstrip("/")
    async with visitor(browser, url, theme="dark") as person:
        await person.visit("/ui/operations")
        await person.page.get_by_role("button", name="System").click()
        await expect(person.page.locator("html")).to_have_attribute("data-theme", "light")
        await person.page.reload()
        await expect(person.page.get_by_role("button", name="Light")).to_be_visible()
        ground = await person.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        await person.page.get_by_role("button", name="Ages").click()
        await person.page.get_by_role("button", name="Dates").click()
        await running.start(name="nightly")
        await running.projected()
        await person.page.reload()
        await expect(person.page.get_by_role("button", name="UTC")).to_be_visible()
        time = person.page.locator("#rows .col-requested time")
        await expect(time).to_have_text(re.compile(r"^\d{1,2} \w{3,4} 20\d\d, \d\d:\d\d:\d\d UTC$"))
        await expect(time).to_have_attribute("title", re.compile(r"CES?T, .* UTC$"))


@pytest.mark.faults
@pytest.mark.integration
async def test_every_load_goes_live(running: Running, browser: Browser) -> None:
    """Again and again, without one that stays still."""
    operation_id = await running.start(name="nightly")
    await running.happen(operation_id, claimed(), started())
    await running.projected()
    url = str(running.http.base_url).rstrip("/")
    async with visitor(browser, url) as person:
        for load in range(1, LOADS + 1):
            await person.visit("/ui/operations")
            await expect(person.page.locator("#connection")).to_have_text("live")
            await running.happen(operation_id, progress(load))
            await expect(person.page.locator(f"#row-{operation_id}")).to_contain_text(f"{load} %")
        assert person.complaints == []


@pytest.mark.integration
async def test_a_page_is_under_200_kib_and_runs_nothing_of_others(running: Running, browser: Browser) -> None:
    """All that a first visit loads, compressed; and a policy that names no exception."""
    parts = sum(len(asset.compressed) for asset in load_assets())
    page = await running.http.get((await one_of_each(running))[2])
    assert parts + len(gzip.compress(page.content)) < TRANSFER_BYTES_MAX
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.integration
async def test_a_page_heals_when_its_server_comes_back(
    tenant: StackEndpoints, tmp_path: Path, browser: Browser
) -> None:
    """The orchestrator stops and starts at the same address: within three seconds the page tells what is new."""
    async with AsyncExitStack() as resources:
        async with run_orchestrator(tenant, tmp_path) as first:
            operation_id = await first.start(name="nightly")
            await first.happen(operation_id, claimed(), started(), progress(10))
            await first.projected()
            base_url = first.http.base_url
            person = await resources.enter_async_context(visitor(browser, str(base_url).rstrip("/")))
            await person.visit("/ui/operations")
            await expect(person.page.locator("#connection")).to_have_text("live")
        await expect(person.page.locator("#connection")).to_have_text("reconnecting")
        async with run_orchestrator(tenant, tmp_path, http_port=base_url.port) as second:
            await second.happen(operation_id, progress(77))
            row = person.page.locator(f"#row-{operation_id}")
            await expect(row).to_contain_text("77 %", timeout=HEAL_MILLISECONDS)
            await expect(person.page.locator("#connection")).to_have_text("live")
