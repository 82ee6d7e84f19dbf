"""The system page in a real browser: what it shows, and what only an administrator may do there."""

from pathlib import Path

import pytest
from milepost_contracts.events import CheckpointDeleted
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.entrypoints.dashboard.payload_text import CHARACTERS_MAX, payload_text
from milepost_orchestrator.entrypoints.dashboard.system_reading import by_kind_and_age
from playwright.async_api import Browser, expect

from tests.dashboard.browser import Visitor, visitor
from tests.orchestrator.running import Running, run_orchestrator
from tests.orchestrator.stories import cancelled, claimed, progress, recorded_checkpoint, snapshot, started
from tests.orchestrator.test_orchestrator_quarantine import put_raw

ADMIN, READER = "administrators-token-1", "readers-token-000001"
SCRIPT = '<script>document.title="caught"</script><img src=x onerror=document.title="caught">'
OWN_PAGE = {"HX-Request": "true", "Sec-Fetch-Site": "same-origin"}
CHANGES = (
    "dispatch/hold",
    "dispatch/release",
    "dispatch/release/counter",
    "dispatch/limit",
    "quarantine/retry",
    "quarantine/retry/op-1",
    "cleanup/preview",
    "cleanup",
)


async def opened(person: Visitor) -> Visitor:
    await person.visit("/ui/system")
    await expect(person.page.locator("#connection")).to_have_text("live")
    return person


@pytest.mark.integration
async def test_streams_lag_storage_and_deeds_are_shown_and_live(running: Running, person: Visitor) -> None:
    """Consumers with their lag, the cursor, checkpoints by age and who did what, the newest without a reload."""
    await running.keep_state()
    operation_id = await running.start(name="nightly")
    await running.happen(operation_id, claimed(), started(), snapshot("cp-1", 50), recorded_checkpoint())
    await running.projected()
    page = (await opened(person)).page
    prefix = running.orchestrator.settings.bus.prefix
    await expect(page.locator("#system-state")).to_contain_text("up to date")
    await expect(page.locator(f"#consumer-{prefix}_EVENTS-reactor")).to_be_visible()
    await expect(page.locator("#system-storage tbody tr")).to_contain_text("counter")
    await expect(page.locator("#system-deeds tbody tr")).to_contain_text("requested")
    verdict = await running.http.post(f"/operations/{operation_id}/cancel", json={"reason": SCRIPT})
    assert verdict.status_code == 200
    newest = page.locator("#system-deeds tbody tr").first
    await expect(newest).to_contain_text("cancel-requested")
    await expect(newest).to_contain_text("/http")
    await expect(newest).to_contain_text(SCRIPT)
    assert await page.title() == "System · Milepost"
    assert await person.violations() == []


@pytest.mark.integration
async def test_what_was_set_aside_is_shown_as_text_and_redelivered(running: Running, person: Visitor) -> None:
    """An event that cannot be read appears with the reason and its bytes; trying again says what came of it."""
    operation_id = await running.start(name="nightly")
    page = (await opened(person)).page
    await expect(page.get_by_text("Every event could be applied.")).to_be_visible()
    sequence = await put_raw(running, operation_id, "run.progress", SCRIPT.encode())
    row = page.locator(f"#quarantined-{sequence}")
    await expect(row).to_contain_text("progress")
    await row.get_by_text("As it is stored").click()
    await expect(row.locator("pre")).to_have_text(SCRIPT)
    assert await page.title() == "System · Milepost"
    assert await person.violations() == []
    await page.get_by_role("button", name="Redeliver all").click()
    await expect(page.locator("#notice")).to_contain_text("0 of 1 applied; 1 cannot be applied yet")
    await expect(row).to_be_visible()
    newest = page.locator("#system-deeds tbody tr").first
    for words in ("redelivered", "/dashboard", "1 set aside"):
        await expect(newest).to_contain_text(words)


@pytest.mark.integration
async def test_dispatch_is_held_limited_and_released(running: Running, person: Visitor) -> None:
    """All kinds and one kind are held with a reason, limited, and released; each names who did it."""
    page = (await opened(person)).page
    await page.get_by_role("button", name="Hold…").click()
    await page.locator("#hold-dialog").get_by_label("Reason").fill("the disk is full")
    await page.get_by_role("button", name="Hold it").click()
    await expect(page.locator("#system-dispatch")).to_contain_text(
        "All kinds are held by /dashboard: the disk is full"
    )
    await page.get_by_role("button", name="Limit…").click()
    await page.locator("#limit-dialog").get_by_label("Kind").fill("counter")
    await page.locator("#limit-dialog").get_by_label("At a time").fill("3")
    await page.get_by_role("button", name="Limit it").click()
    await expect(page.locator("#dispatch-counter")).to_contain_text("3")
    assert await person.violations() == []
    policy = await running.orchestrator.dispatching.policy()
    assert (policy.held is not None, policy.limits) == (True, {"counter": 3})
    await page.get_by_role("button", name="Release all").click()
    await expect(page.get_by_text("All kinds are held")).to_have_count(0)
    await expect(page.locator("#system-deeds tbody tr").first).to_contain_text("dispatch released")
    assert (await running.orchestrator.dispatching.policy()).held is None


@pytest.mark.integration
async def test_a_cleanup_is_counted_then_typed_then_done(running: Running, person: Visitor) -> None:
    """The dry run deletes nothing, another number deletes nothing, the right words delete what was counted."""
    await running.keep_state()
    operation_id = await running.start(name="nightly")
    story = (claimed(), started(), progress(10), snapshot("cp-1", 50), snapshot("cp-2", 60), cancelled())
    await running.happen(operation_id, *story)
    await running.projected()
    page = (await opened(person)).page
    await page.get_by_role("button", name="Clean up…").click()
    dialog = page.locator("#cleanup-dialog")
    await dialog.get_by_label("Older than").fill("yesterday")
    await dialog.get_by_role("button", name="Show what would go").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("'yesterday' is no age")
    await dialog.get_by_label("Older than").fill("")
    await dialog.get_by_label("Keep the newest").fill("1")
    await dialog.get_by_label("Reason").fill("room")
    await dialog.get_by_role("button", name="Show what would go").click()
    await expect(dialog).to_contain_text("1 would go")
    assert await person.violations() == []
    forged = {"keep_newest": "0", "confirm": "delete 1"}
    answer = await running.http.post("/ui/system/cleanup", data=forged, headers=OWN_PAGE)
    assert "Nothing was deleted" in answer.text
    assert len(await running.rows("SELECT checkpoint_id FROM checkpoints")) == 2
    await dialog.get_by_label("Type").fill("delete 1")
    await dialog.get_by_role("button", name="Delete 1").click()
    await expect(dialog).to_contain_text("1 deleted")
    deleted = (await running.until(operation_id, CheckpointDeleted)).event
    assert (deleted.checkpoint_id, deleted.reason, deleted.requested_by) == (
        "cp-1",
        "room: not the newest",
        "/dashboard",
    )


@pytest.mark.integration
async def test_a_reader_sees_the_system_and_changes_nothing(
    tenant: StackEndpoints, tmp_path: Path, browser: Browser
) -> None:
    """No button for a reader, 403 for every change that is forced, and nothing is held; an administrator may."""
    async with run_orchestrator(tenant, tmp_path, token=ADMIN, reader_token=READER) as guarded:
        as_reader = {"Authorization": f"Bearer {READER}", **OWN_PAGE}
        for path in CHANGES:
            answer = await guarded.http.post(f"/ui/system/{path}", headers=as_reader)
            assert answer.status_code == 403, path
        async with visitor(browser, str(guarded.http.base_url).rstrip("/")) as reader:
            await reader.visit("/ui/system")
            await reader.page.get_by_label("Token").fill(READER)
            await reader.page.keyboard.press("Enter")
            await expect(reader.page.locator("#connection")).to_have_text("live")
            await expect(reader.page.locator("[hx-post], dialog:not(#confirm)")).to_have_count(0)
            assert await reader.violations() == []
            assert reader.complaints == []
        assert (await guarded.orchestrator.dispatching.policy()).held is None
        as_admin = {"Authorization": f"Bearer {ADMIN}", **OWN_PAGE}
        assert (await guarded.http.post("/ui/system/dispatch/hold", headers=as_admin)).status_code == 200
        assert (await guarded.orchestrator.dispatching.policy()).held is not None


@pytest.mark.unit
def test_a_payload_is_text_whatever_it_is() -> None:
    """JSON is indented, other bytes are shown as they are, and a long one is cut off and says so."""
    assert payload_text(b'{"a":1}') == '{\n  "a": 1\n}'
    assert payload_text(b"\xff\x00 nothing") == "\\xff\x00 nothing"
    assert payload_text(b"x" * (CHARACTERS_MAX + 5)).endswith("\n… 5 characters more")


@pytest.mark.unit
def test_checkpoints_are_summed_by_kind_and_age() -> None:
    """Statuses are added up; what there is none of is zero."""
    rows = [
        {"kind": "counter", "status": status, "age": age, "count": 2, "size_bytes": 10}
        for status, age in (("running", "day"), ("cancelled", "day"), ("cancelled", "older"))
    ]
    found = by_kind_and_age(rows)["counter"]
    assert found["day"] == {"count": 4, "size_bytes": 20}
    assert found["week"]["count"] == 0
    assert found["all"] == {"count": 6, "size_bytes": 30}
