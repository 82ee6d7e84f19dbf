"""An orchestrator that dies at any await of any command leaves nothing or the whole effect.

A life of an orchestrator is a stored command that is delivered to it: decode, decide, append, follow up, publish
the verdict, acknowledge. Every call of a port in it has a point before and a point after the port did its work.
One life ends at each of them, by a kill or a cancellation; then another orchestrator goes on over what is left,
as it would really: the command is delivered again because nobody acknowledged it, the reactor reads the control
events again, dispatch and schedules are kept. In tests marked ``faults`` the second one dies at its points too.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from milepost_contracts.commands import COMMANDS
from milepost_contracts.events import CheckpointDeleted
from milepost_orchestrator.domain.operation import CheckpointStatus
from milepost_runtime.testing.kill_points import Killed, KillPoints

from tests.orchestrator.command_cases import CASES, Case
from tests.orchestrator.lives import World, Worlds, live_until
from tests.orchestrator.stories import cancel_requested, cancelled
from tests.orchestrator.workshop import Workshop

pytestmark = pytest.mark.unit
ROUNDS = int(os.environ.get("MILEPOST_FAULT_ROUNDS", "0"))
DEATHS: list[Callable[[], BaseException]] = [Killed, asyncio.CancelledError]
AGREED = {"accepted", "duplicate", "cleaned-up"}


async def outcomes(worlds: Worlds) -> tuple[dict[str, Any], dict[str, Any], int]:
    """What there is without the command, what there is after it, and the points of a life that handles it."""
    before, whole, points = await worlds.make(), await worlds.make(), KillPoints()
    await before.heal()
    await whole.deliver(points)
    await whole.heal()
    assert {each.verdict for each in whole.verdicts} <= {"accepted", "cleaned-up"}
    assert whole.facts() != before.facts(), "the case shows nothing: its command has no effect"
    return before.facts(), whole.facts(), points.passed


async def agreed_and_whole(world: World, whole: dict[str, Any]) -> None:
    """The command is delivered again, agreed to, and has its whole effect; once more it changes nothing."""
    for _ in range(2):
        await world.deliver()
        await world.heal()
        assert world.acknowledged
        assert world.verdicts[-1].verdict in AGREED
        assert world.facts() == whole
    assert world.verdicts[-1].verdict != "accepted"


def landed(world: World, before: dict[str, Any]) -> bool:
    """Whether a fact of the command is in the log."""
    facts = world.facts()
    return any(len(facts[each]) > len(before[each]) for each in ("events", "records"))


async def all_or_nothing(world: World, case: Case, before: dict[str, Any], whole: dict[str, Any]) -> None:
    """What the dead one left becomes nothing or everything, before anybody sends the command again."""
    is_there = landed(world, before)
    await world.heal()
    if case.stepwise:
        await manifests_fit(world)
    elif is_there:
        assert world.facts() == whole
    else:
        assert {**world.facts(), "announced": set()} == before


async def manifests_fit(world: World) -> None:
    """Each deletion is whole: a checkpoint that is there has its manifest, one that is deleted has none."""
    for entry in world.workshop.event_log.entries:
        if not isinstance(entry.event, CheckpointDeleted):
            continue
        checkpoint = (await world.workshop.state(entry.operation_id)).facts.checkpoints
        keys = {str(key) for key, _ in world.facts()["objects"]}
        for each in checkpoint.values():
            is_there = any(each.checkpoint_id in key for key in keys)
            assert is_there == (each.status is CheckpointStatus.RECORDED)


def test_every_command_has_a_case() -> None:
    """Whoever adds a command adds it here."""
    assert {type(case.command("op-1")) for case in CASES.values()} == set(COMMANDS.values())


@pytest.mark.parametrize("name", CASES)
async def test_killed_at_any_await_a_command_leaves_nothing_or_its_whole_effect(
    name: str, tmp_path: Path
) -> None:
    """After every death another orchestrator finds nothing or finishes all, and agrees to the command again."""
    case = CASES[name]
    worlds = Worlds(tmp_path, case)
    with structlog.testing.capture_logs():
        before, whole, count = await outcomes(worlds)
        assert count >= 6
        seen: set[bool] = set()
        for at in range(count):
            for death in DEATHS:
                world, points = await worlds.make(), KillPoints(at, death)
                await live_until(world.deliver(points))
                assert points.reached
                seen.add(landed(world, before))
                if death is Killed:
                    await all_or_nothing(world, case, before, whole)
                await agreed_and_whole(world, whole)
        assert seen == {False, True}, "it died only before, or only after the fact was in the log"


async def test_an_operation_whose_end_was_cut_off_leaves_no_work(workshop: Workshop) -> None:
    """The reactor takes out the work that its killed predecessor left behind a cancelled operation."""
    operation_id = (await workshop.start()).operation_id or ""
    request = await workshop.happen(operation_id, cancel_requested())
    await workshop.happen(operation_id, cancelled())
    assert await workshop.has_work(operation_id)
    await workshop.reactor.handle(request)
    assert not await workshop.has_work(operation_id)


@pytest.mark.faults
@pytest.mark.parametrize("name", CASES)
async def test_killed_twice_a_command_has_its_effect_once(name: str, tmp_path: Path) -> None:
    """The one that goes on dies as well, at each of its awaits, and the third makes it whole."""
    case = CASES[name]
    worlds = Worlds(tmp_path, case)
    with structlog.testing.capture_logs():
        before, whole, count = await outcomes(worlds)
        step = 1 if ROUNDS else 13
        for first in range(0, count, step):
            at = first % step
            while True:
                world, points = await worlds.make(), KillPoints(at)
                await live_until(world.deliver(KillPoints(first)))
                await live_until(world.heal(points))
                await live_until(world.deliver(points))
                if not points.reached:
                    break
                await all_or_nothing(world, case, before, whole)
                await agreed_and_whole(world, whole)
                at += step
