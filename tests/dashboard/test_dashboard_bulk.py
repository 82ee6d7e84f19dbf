"""Many operations at once on the dashboard: selected, asked about, confirmed by typing, and each answered for."""

import pytest
from milepost_contracts.commands import CancelOperation
from milepost_contracts.events import CancelRequested, CheckpointDeleted, CheckpointPinned, Resumed
from milepost_orchestrator.entrypoints.dashboard.bulk_actions import MANNERS, is_typed
from milepost_orchestrator.entrypoints.dashboard.cancel_form import cancel_command
from playwright.async_api import Browser, Locator, Page, expect
from pydantic import ValidationError

from tests.dashboard.browser import Visitor, press_until_focused, visitor
from tests.orchestrator.running import Running
from tests.orchestrator.stories import cancelled, claimed, completed, progress, snapshot, started

OPERATION = "op-aaaaaaaaaaaaaaaa"


@pytest.mark.unit
def test_a_cancel_is_one_of_four_ways() -> None:
    """The chosen way counts, what was typed beside another one does not, and what is wrong is said by field."""
    form = {"operation_id": OPERATION, "reason": "enough", "at_unit": "7", "deadline": "2m"}
    made = {
        when: cancel_command({**form, "when": when}) for when in ("unit-end", "at-unit", "deadline", "force")
    }
    about = {"operation_id": OPERATION, "reason": "enough"}
    assert made == {
        "unit-end": CancelOperation(**about),
        "at-unit": CancelOperation(**about, at_unit=7),
        "deadline": CancelOperation(**about, deadline_seconds=120),
        "force": CancelOperation(**about, force=True),
    }
    for when, field, words in (("at-unit", "at_unit", "integer"), ("deadline", "deadline", "write 30m")):
        with pytest.raises(ValidationError) as caught:
            cancel_command({**about, "when": when, field: "soon"})
        (fault,) = caught.value.errors()
        assert fault["loc"] == (field,)
        assert words in fault["msg"]


@pytest.mark.unit
def test_only_the_number_confirms() -> None:
    """The number, alone or after the word; never another one, another word, or nothing to do."""
    cancel = MANNERS["cancel"]
    assert all(is_typed(text, cancel, 12) for text in ("12", " cancel  12 "))
    assert not any(is_typed(text, cancel, 12) for text in ("", "1", "012", "delete 12", "12 12", "cancel"))
    assert not is_typed("0", cancel, 0)


async def listed(person: Visitor, address: str, rows: int) -> Page:
    """The list, live, with so many rows."""
    await person.visit(address)
    await expect(person.page.locator("#connection")).to_have_text("live")
    await expect(person.page.locator("#rows tr")).to_have_count(rows)
    return person.page


def box(page: Page, operation_id: str) -> Locator:
    return page.locator(f"#select-{operation_id}")


@pytest.mark.integration
async def test_selected_with_the_mouse_and_cancelled_with_each_verdict(
    running: Running, person: Visitor
) -> None:
    """A range stays selected while rows change and come; another number does nothing; what is refused is named."""
    await running.keep_state()
    first, second, third = [await running.start(name=f"night {number}") for number in range(3)]
    done = await running.start(name="done already")
    await running.happen(done, claimed(), started(), completed())
    await running.happen(second, claimed(), started(), progress(10))
    await running.projected()
    page = await listed(person, "/ui/operations", 4)
    words = page.locator("#bulk-words")
    await box(page, done).click()
    await box(page, second).click(modifiers=["Shift"])
    await expect(words).to_have_text("3 selected")
    await running.happen(second, progress(42))
    await expect(page.locator(f"#row-{second}")).to_contain_text("42 %")
    late = await running.start(name="late")
    await expect(page.locator("#rows tr").first).to_have_id(f"row-{late}")
    for each, is_chosen in ((late, False), (done, True), (third, True), (second, True), (first, False)):
        await expect(box(page, each)).to_be_checked(checked=is_chosen)
    await page.get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("2 operations would be cancelled, 1 would be refused")
    await expect(dialog.get_by_role("region", name="Refused")).to_contain_text("done already")
    await dialog.get_by_label("Reason").fill("wrong data")
    assert await person.violations() == []
    await running.happen(second, completed())  # what was typed is about two, and now it is one
    await dialog.get_by_label("Type 2 to cancel them").fill("2")
    await dialog.get_by_role("button", name="Cancel 2").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("Nothing was done")
    await dialog.get_by_label("Type 1 to cancel them").fill("cancel 1")
    await dialog.get_by_role("button", name="Cancel 1").click()
    await expect(dialog).to_contain_text("1 operation being cancelled, 2 refused.")
    await expect(dialog.get_by_role("region", name="Refused")).to_contain_text("night 1")
    assert (await running.until(third, CancelRequested)).event.reason == "wrong data"
    await dialog.get_by_role("button", name="Close").click()
    await expect(words).to_have_text("None selected")
    await running.projected()
    left = (await running.http.get("/operations", params={"status": "queued"})).json()["operations"]
    assert {each["operation_id"] for each in left} == {first, late}


@pytest.mark.integration
async def test_all_that_match_are_resumed_and_deleted_with_the_keyboard_alone(
    running: Running, person: Visitor
) -> None:
    """Keys go through the rows and select; all that match are more than are shown; a pinned checkpoint stays."""
    await running.keep_state()
    stopped = [await running.start(name=f"stopped {number}") for number in range(3)]
    for number, each in enumerate(stopped):
        await running.happen(each, claimed(), snapshot(f"cp-{number}", 50), cancelled())
    await running.happen(stopped[2], CheckpointPinned(checkpoint_id="cp-2"))
    await running.start(name="waiting")
    await running.projected()
    page = await listed(person, "/ui/operations?q=status:cancelled&limit=2", 2)
    keyboard, words = page.keyboard, page.locator("#bulk-words")
    for key in ("j", "x", "j", "X"):  # the first row, selected; the second one, with all between
        await keyboard.press(key)
    await expect(words).to_have_text("2 selected")
    await keyboard.press("Escape")
    await expect(words).to_have_text("None selected")
    await press_until_focused(page, "select-shown")
    await keyboard.press("Space")
    await press_until_focused(page, "bulk-matching")
    await keyboard.press("Enter")
    await expect(words).to_have_text("All 3 that match are selected")
    await keyboard.press("d")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("2 checkpoints would be deleted, 1 would be refused")
    assert await person.violations() == []
    await keyboard.press("Escape")
    await keyboard.press("r")
    await expect(dialog).to_contain_text("3 operations would be resumed")
    await expect(dialog.get_by_label("Type 3 to resume them")).to_be_focused()
    await keyboard.type("3")
    await keyboard.press("Enter")
    await expect(dialog).to_contain_text("3 operations resumed.")
    children = [(await running.until(each, Resumed)).event.child_id for each in stopped]
    for child in children:
        await expect(dialog.locator(f"[href$='{child}']")).to_be_visible()
        await running.happen(child, claimed(), completed())
    await keyboard.press("Escape")
    await running.projected()
    await press_until_focused(page, f"link-{stopped[1]}")
    await keyboard.press("x")
    await keyboard.press("d")
    await expect(dialog).to_contain_text("1 checkpoint would be deleted")
    await press_until_focused(page, "bulk-delete-confirm")
    await keyboard.type("1")
    await keyboard.press("Enter")
    await expect(dialog).to_contain_text("1 checkpoint deleted.")
    assert (await running.until(stopped[1], CheckpointDeleted)).event.checkpoint_id == "cp-1"


@pytest.mark.integration
async def test_what_closes_a_dialog_is_in_sight_however_low_the_window(
    running: Running, browser: Browser
) -> None:
    """A dialog that is taller than the window scrolls, its buttons do not."""
    for number in range(12):
        await running.start(name=f"nightly {number}")
    await running.projected()
    url = str(running.http.base_url).rstrip("/")
    async with visitor(browser, url, width=700, height=520) as person:
        page = await listed(person, "/ui/operations", 12)
        for box in await page.locator("[data-select]").all():
            await box.check()
        await page.locator("#bulk-open-cancel").click()
        dialog = page.get_by_role("dialog", name="Cancel 12")
        await expect(dialog.get_by_text("would be cancelled").first).to_be_visible()
        assert await dialog.evaluate("element => element.scrollHeight > element.clientHeight")
        await expect(dialog.get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)
        assert await person.violations() == []
        await dialog.get_by_role("button", name="Close").click()
        await expect(dialog).not_to_be_visible()
        assert person.complaints == []
