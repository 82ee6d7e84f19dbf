"""Forking an operation in a real browser: edit, see what changes, start."""

import json

import pytest
from milepost_contracts.events import Resumed
from milepost_orchestrator.domain.forking import merged
from milepost_orchestrator.entrypoints.dashboard.merge_patch import merge_patch
from playwright.async_api import expect

from tests.dashboard.browser import Visitor
from tests.orchestrator.running import Running
from tests.orchestrator.stories import cancelled, claimed, snapshot, started


@pytest.mark.integration
async def test_a_fork_is_edited_compared_and_started(running: Running, person: Visitor) -> None:
    """What is no JSON, changes nothing or may not change is said while one types; then it is forked."""
    await running.keep_state()
    operation_id = await running.start(name="nightly")
    await running.happen(operation_id, claimed(), started(), snapshot("cp-1", 50), cancelled())
    await running.projected()
    page = person.page
    await person.visit(f"/ui/operations/{operation_id}")
    await page.get_by_role("link", name="Fork…").click()
    editor, preview = page.get_by_label("Spec"), page.locator("#preview")
    await expect(page.get_by_label("From checkpoint")).to_contain_text("step 50 (periodic, cp-1)")
    spec = json.loads(await editor.input_value())
    await editor.fill("{")
    await expect(preview).to_contain_text("This is not JSON")
    await editor.fill(json.dumps({**spec, "units": 7}))
    await expect(preview).to_contain_text("units")
    await expect(preview.locator("strong")).to_be_visible()  # the kind does not let it change
    await editor.fill(json.dumps({**spec, "seconds": 2.5}))
    await expect(preview.locator("tbody tr")).to_have_text(["seconds0.52.5"])
    await expect(preview).to_contain_text("This can be forked.")
    assert await person.violations() == []
    await page.get_by_label("Name").fill("slower")
    await page.get_by_role("button", name="Fork it").click()
    child = (await running.until(operation_id, Resumed)).event.child_id
    await expect(page).to_have_url(f"{person.url}/ui/operations/{child}")
    await expect(page.locator("#spec")).to_contain_text('"seconds": 2.5')
    await expect(page.locator("#operation-header")).to_contain_text("Fork of")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a": {"c": 3}}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": 5}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)
def test_a_patch_makes_one_spec_of_the_other(before: dict, after: dict, patch: dict) -> None:
    """The smallest merge patch; applied to the first it gives the second."""
    assert merge_patch(before, after) == patch
    assert merged(before, patch) == after
