"""The past of an operation, event by event, in a real browser."""

import json

import pytest
from milepost_contracts.events import CheckpointRecorded, StateSnapshot
from milepost_orchestrator.application.moments import moment_of
from milepost_orchestrator.entrypoints.dashboard.replay_page import CHECKPOINTS_SHOWN, state_text
from playwright.async_api import expect

from tests.dashboard.browser import Visitor
from tests.history.stored import stored_story
from tests.orchestrator.running import Running
from tests.orchestrator.stories import cancelled, claimed, progress, requested, snapshot, started


@pytest.mark.integration
async def test_one_scrubs_steps_and_plays_through_the_past(running: Running, person: Visitor) -> None:
    """The state as of each event, what it changed, and an address that leads there again."""
    await running.keep_state()
    operation_id = await running.start(name="nightly")
    await running.happen(operation_id, claimed(), started(), progress(10), snapshot("cp-1", 50))
    await running.happen(operation_id, cancelled())
    await running.until(operation_id, CheckpointRecorded)
    await running.projected()
    page = person.page
    await person.visit(f"/ui/operations/{operation_id}/replay")
    moment = page.locator("#moment")
    await expect(moment).to_contain_text("event 7 of 7")
    saved = (await running.until(operation_id, StateSnapshot)).sequence
    await person.visit(f"/ui/operations/{operation_id}/replay?seq={saved}")
    await expect(moment.locator(".status")).to_have_text("running")
    await expect(moment.locator(".changes")).to_contain_text("checkpoints.cp-1.unit")
    assert await person.violations() == []
    await page.get_by_role("link", name="Back").click()
    await expect(moment).to_contain_text("event 4 of 7")
    await expect(moment.locator(".changes")).to_contain_text("unit")
    await page.get_by_role("slider").focus()
    await page.keyboard.press("Home")
    await expect(moment).to_contain_text("event 1 of 7")
    await expect(moment.locator(".status")).to_have_text("queued")
    await page.get_by_role("button", name="Play").click()
    await expect(moment).to_contain_text("event 7 of 7")
    await expect(page.get_by_role("button", name="Play")).to_be_visible()
    last = await moment.get_attribute("data-sequence")
    await expect(page).to_have_url(f"{person.url}/ui/operations/{operation_id}/replay?seq={last}")


async def told():
    """A story of five events."""
    events = stored_story(requested(), claimed(), started(), progress(10), progress(20))
    for event in events:
        yield event


@pytest.mark.unit
@pytest.mark.parametrize(
    ("asked", "number", "previous", "following"),
    [
        ({}, 5, 4, None),
        ({"sequence": 3}, 3, 2, 4),
        ({"sequence": 99}, 5, 4, None),
        ({"number": 1}, 1, None, 2),
        ({"sequence": 0}, 1, None, 2),
    ],
)
async def test_a_moment_is_found_by_sequence_or_number(
    asked: dict, number: int, previous: int | None, following: int | None
) -> None:
    """With its neighbours; out of range is the first or the last."""
    moment = await moment_of(told(), **asked)
    assert (moment.number, moment.count) == (number, 5)
    assert (moment.previous_sequence, moment.next_sequence) == (previous, following)
    assert moment.state["sequence"] == number


@pytest.mark.unit
async def test_a_moment_says_what_its_event_changed() -> None:
    """Progress moves the unit from what it was to what it is."""
    moment = await moment_of(told(), number=5)
    changed = {each.path: (each.before, each.after) for each in moment.changes}
    assert changed["unit"] == (10, 20)
    assert "spec.units" not in changed


@pytest.mark.unit
async def test_of_very_many_checkpoints_the_newest_are_shown_as_json() -> None:
    """Everything else of the state is there, whatever is in it."""
    events = stored_story(
        requested(spec={"units": 2**70, "text": "ü \u2028"}),
        claimed(),
        started(),
        *(snapshot(f"cp-{unit}", unit) for unit in range(1, CHECKPOINTS_SHOWN + 3)),
    )

    async def each():
        for event in events:
            yield event

    state = (await moment_of(each())).state
    shown = json.loads(state_text({**state, "units_per_second": float("inf")}))
    assert list(shown["checkpoints"]) == [f"cp-{unit}" for unit in range(3, CHECKPOINTS_SHOWN + 3)]
    assert shown == {**state, "units_per_second": float("inf"), "checkpoints": shown["checkpoints"]}
    assert all(shown["checkpoints"][key] == state["checkpoints"][key] for key in shown["checkpoints"])
    assert state_text(None) == "null"
