"""Lives of orchestrators over doubles: one gets a command and dies at some await, others go on after it."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from faststream.nats import NatsMessage
from milepost_contracts.commands import Command, command_name
from milepost_contracts.events import CheckpointContinued
from milepost_contracts.messages import encode, envelop_command
from milepost_orchestrator.adapters.verdicts import VerdictPublisher
from milepost_orchestrator.application.answers import AnyAnswer
from milepost_orchestrator.application.entrance import CommandEntrance
from milepost_orchestrator.entrypoints.bus import handle_stored
from milepost_runtime.testing.kill_points import Killed, KillPoints

from tests.orchestrator.command_cases import Case
from tests.orchestrator.stories import EPOCH
from tests.orchestrator.workshop import Workshop

COMMAND_ID = "cmd-it"


@dataclass
class World:
    """All that outlives an orchestrator."""

    workshop: Workshop
    command: Command
    verdicts: list[AnyAnswer] = field(default_factory=list[AnyAnswer])
    acknowledged: bool = False
    deliveries: int = 0
    alarms: frozenset[str] = frozenset()
    """What the orchestrator that healed it waits for."""

    async def publish(self, verdict: AnyAnswer) -> None:
        self.verdicts.append(verdict)

    async def ack(self) -> None:
        self.acknowledged = True

    async def nack(self, delay: float) -> None:
        raise AssertionError("nothing is away")

    def orchestrator(self, points: KillPoints | None = None) -> Workshop:
        return Workshop(self.workshop.directory, over=self.workshop, points=points)

    async def deliver(self, points: KillPoints | None = None) -> Workshop:
        """Let an orchestrator handle the stored command."""
        points = points or KillPoints()
        self.deliveries += 1
        orchestrator, name = self.orchestrator(points), command_name(self.command)
        payload = encode(envelop_command(self.command, command_id=COMMAND_ID, source="/test", time=EPOCH))
        metadata = SimpleNamespace(num_delivered=self.deliveries, sequence=SimpleNamespace(stream=1))
        raw = SimpleNamespace(subject=f"milepost.command.{name}", metadata=metadata)
        message = points.guard(_Message(payload, raw, self))
        publisher = points.guard(_Publisher(self))
        entrance = CommandEntrance(orchestrator.handler)
        await handle_stored(cast(NatsMessage, message), entrance, cast(VerdictPublisher, publisher))
        return orchestrator

    async def heal(self, points: KillPoints | None = None) -> None:
        """Let an orchestrator start: the reactor reads everything again, dispatch and schedules are kept."""
        orchestrator = self.orchestrator(points)
        done = 0
        while done < len(self.workshop.event_log.entries):
            await orchestrator.reactor.handle(self.workshop.event_log.entries[done])
            done += 1
        await _once(orchestrator.dispatching.keep())
        await _once(orchestrator.timekeeper.keep())
        self.alarms = frozenset({*orchestrator.alarms.expected, *orchestrator.timers.expected})

    def facts(self) -> dict[str, Any]:
        """What can be seen of it. An announcement may be made twice; it ends by itself after a while."""
        workshop = self.workshop
        logged = [(each.operation_id, each.event) for each in workshop.event_log.entries]
        announced = {each for each, event in logged if isinstance(event, CheckpointContinued)}
        records = [
            (each.envelope.subject, each.envelope.type, each.envelope.data)
            for each in workshop.records.records
        ]
        return {
            "events": [each for each in logged if not isinstance(each[1], CheckpointContinued)],
            "announced": announced,
            "records": records,
            "work": workshop.work_queue.priorities,
            "gate": workshop.gate.policy,
            "objects": sorted((each.key, each.size_bytes) for each in workshop.store.list_objects("")),
            "alarms": self.alarms,
        }


@dataclass
class _Message:
    body: bytes
    raw_message: Any
    world: World

    async def ack(self) -> None:
        await self.world.ack()

    async def nack(self, delay: float = 0.0) -> None:
        await self.world.nack(delay)


@dataclass
class _Publisher:
    world: World

    async def publish(self, verdict: AnyAnswer) -> None:
        await self.world.publish(verdict)


async def _once(loop: Awaitable[None]) -> None:
    """Run a loop until it sleeps; what kills it is raised."""
    task = asyncio.ensure_future(loop)
    for _ in range(3):
        await asyncio.sleep(0)
    if not task.done():
        task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return


class Worlds:
    """Makes equal worlds, each in a directory of its own."""

    def __init__(self, directory: Path, case: Case) -> None:
        self._directory = directory
        self._case = case
        self._made = 0

    async def make(self) -> World:
        """Return a world as it is before the command."""
        self._made += 1
        directory = self._directory / str(self._made)
        directory.mkdir()
        workshop = await Workshop(directory).open()
        command = self._case.command(await self._case.given(workshop))
        return World(workshop, command)


async def live_until(life: Awaitable[object]) -> None:
    """Live a life to its end, whatever that is."""
    try:
        await life
    except (Killed, asyncio.CancelledError):
        return
