"""Who may see the dashboard and who may act: tokens, cookies, roles."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from milepost_infra.endpoints import StackEndpoints
from playwright.async_api import Browser, expect

from tests.dashboard.browser import Visitor, visitor
from tests.orchestrator.running import Running, run_orchestrator
from tests.orchestrator.stories import claimed, progress, snapshot, started

pytestmark = pytest.mark.integration
OPERATOR, READER = "operators-token-0001", "readers-token-000001"


@pytest.fixture
async def guarded(tenant: StackEndpoints, tmp_path: Path) -> AsyncIterator[Running]:
    """An orchestrator that asks for a token."""
    async with run_orchestrator(tenant, tmp_path, token=OPERATOR, reader_token=READER) as started_one:
        yield started_one


async def signed_in(browser_visitor: Visitor, path: str, token: str) -> None:
    """Ask for a page and give a token on the way."""
    await browser_visitor.visit(path)
    await browser_visitor.page.get_by_label("Token").fill(token)
    await browser_visitor.page.keyboard.press("Enter")


async def test_a_reader_sees_everything_and_no_action(guarded: Running, browser: Browser) -> None:
    """The page asked for comes after signing in, live, without a button; an operator has the buttons."""
    await guarded.keep_state()
    operation_id = await guarded.start(name="nightly")
    await guarded.happen(operation_id, claimed(), started(), progress(10), snapshot("cp-1", 50))
    await guarded.projected()
    url, path = str(guarded.http.base_url).rstrip("/"), f"/ui/operations/{operation_id}"
    async with visitor(browser, url) as reader:
        await signed_in(reader, path, READER)
        page = reader.page
        await expect(page).to_have_url(f"{url}{path}")
        await expect(page.locator("#connection")).to_have_text("live")
        await guarded.happen(operation_id, snapshot("cp-2", 60))
        await expect(page.locator("#checkpoint-cp-2")).to_be_visible()
        await expect(page.get_by_role("img", name="loss over steps")).to_be_visible()
        await expect(page.get_by_role("button", name="Cancel…")).to_have_count(0)
        await expect(page.locator("[hx-post]:not(dialog *)")).to_have_count(0)
        assert await reader.violations() == []
        await reader.visit("/ui/operations")
        await expect(page.locator("#rows tr")).to_have_count(1)
        await expect(page.locator("#connection")).to_have_text("live")
        await guarded.start(name="another")
        await expect(page.locator("#rows tr")).to_have_count(2)
        await page.keyboard.press("j")
        await page.keyboard.press("x")
        await expect(
            page.locator("[data-select], [data-select-shown], [data-bulk], dialog form[hx-post]")
        ).to_have_count(0)
        assert reader.complaints == []
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Token")).to_be_visible()
        assert await reader.violations() == []
        await signed_in(reader, path, OPERATOR)
        await page.get_by_role("button", name="Cancel…").click()
        await page.get_by_role("button", name="Cancel it").click()
        await expect(page.locator("#operation-header")).to_contain_text("cancelling")


async def test_a_reader_who_forces_an_action_is_refused(guarded: Running) -> None:
    """403 for a reader at the dashboard and at the API, 401 for a stranger, and nothing has happened."""
    http = guarded.http
    operation_id = await guarded.start()
    as_reader = {"Authorization": f"Bearer {READER}"}
    own_page = {"HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
    cancel = f"/operations/{operation_id}/cancel"
    assert (await http.post(f"/ui{cancel}", headers={**as_reader, **own_page})).status_code == 403
    assert (await http.post(cancel, headers=as_reader)).status_code == 403
    for path in ("/ui/bulk/cancel/preview", "/ui/bulk/cancel", "/ui/bulk/resume", "/ui/bulk/delete"):
        forced = await http.post(path, headers={**as_reader, **own_page}, data={"ids": operation_id})
        assert forced.status_code == 403
    assert (await http.post("/ui/fleet/drain", headers={**as_reader, **own_page})).status_code == 403
    assert (await http.post("/workers/w-1/drain", headers=as_reader)).status_code == 403
    assert (await http.post(f"/ui{cancel}", headers=own_page)).status_code == 401
    assert (await http.get("/ui/operations/live")).status_code == 401
    given = await http.post("/ui/login", data={"token": READER})
    session = {"Cookie": f"milepost-session={given.cookies['milepost-session']}"}
    assert (await http.post(f"/ui{cancel}", headers={**session, **own_page})).status_code == 403
    assert (
        await http.post(cancel, headers=session)
    ).status_code == 401  # a cookie alone is nothing to the API
    await guarded.projected()
    found = await http.get(f"/operations/{operation_id}", headers=as_reader)
    assert found.json()["status"] == "queued"


async def test_signing_in_leads_to_our_own_pages_only(guarded: Running) -> None:
    """A wrong token gives no cookie; a right one never leads to another site."""
    http = guarded.http
    wrong = await http.post("/ui/login", data={"token": "x" * 20, "next": "/ui/operations"})
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    for elsewhere in ("https://evil.example/", "//evil.example", "/ui\\evil", "/operations"):
        right = await http.post("/ui/login", data={"token": OPERATOR, "next": elsewhere})
        assert (right.status_code, right.headers["location"]) == (303, "/ui")
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert OPERATOR not in cookie
