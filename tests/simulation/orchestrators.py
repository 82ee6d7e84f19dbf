"""A simulated orchestrator: the real handler, reactor, registrar, alarms and sweeper, at the end of a line."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from faststream.nats import NatsMessage
from milepost_contracts.envelope import Envelope
from milepost_contracts.messages import encode
from milepost_orchestrator.adapters.verdicts import VerdictPublisher
from milepost_orchestrator.application.entrance import CommandEntrance
from milepost_orchestrator.application.queries import LiveOperation, ReadModel
from milepost_orchestrator.application.rows import OperationRow
from milepost_orchestrator.application.sweeper import Sweeper
from milepost_orchestrator.domain.operation import TERMINAL_STATUSES, Status
from milepost_orchestrator.entrypoints.bus import handle_stored
from milepost_runtime.errors import RuntimeServiceError
from milepost_runtime.testing.kill_points import Killed
from milepost_runtime.work_queue import WorkKey

from tests.orchestrator.workshop import Workshop
from tests.simulation.lines import Deliveries, Line
from tests.simulation.servers import Servers
from tests.simulation.tally import Seen
from tests.support.memory_rows import Rows

IDLE_SECONDS = 0.5
SWEEP_SECONDS = 10.0
ENDED = {each.value for each in TERMINAL_STATUSES}


@dataclass
class RowsReadModel:
    """What the sweeper asks of the read models; they may be behind."""

    rows: Rows

    async def live_operations(self, *, after_id: str, limit: int) -> Sequence[LiveOperation]:
        found = cast(list[OperationRow], list(self.rows.tables.get("operations", {}).values()))
        live = sorted(each for each in found if each.status not in ENDED and each.operation_id > after_id)
        return [
            LiveOperation(
                WorkKey(each.kind, each.queue, each.operation_id), each.status == Status.CANCELLING.value
            )
            for each in live[:limit]
        ]


@dataclass
class StoredMessage:
    """A stored command on its way to an orchestrator."""

    body: bytes
    raw_message: Any
    acknowledged: bool = False
    put_off: bool = False

    async def ack(self) -> None:
        self.acknowledged = True

    async def nack(self, delay: float) -> None:
        self.put_off = True


class SimulatedOrchestrator:
    """One process of an orchestrator, until it is killed."""

    def __init__(self, servers: Servers, name: str) -> None:
        self.name = name
        self._servers = servers
        self._line = Line(servers.network)
        base = servers.base
        self._workshop = Workshop(base.directory, over=base, points=self._line, name=name)
        self._entrance = CommandEntrance(self._workshop.handler)
        shop = self._workshop
        sweeper = Sweeper(
            cast(ReadModel, self._line.guard(RowsReadModel(servers.rows))),
            shop.operations,
            shop.appender,
            shop.effects,
            self._line.guard(base.work_queue),
            self._line.guard(base.signals),
            interval_seconds=SWEEP_SECONDS,
        )
        self._tasks = [
            asyncio.ensure_future(each)
            for each in (
                self._follow(servers.commands, self._command),
                self._follow(servers.reactor, shop.reactor.handle),
                self._follow(servers.registrar, shop.registrar.handle),
                self._live(shop.alarms.run(shop.effects.enforce_deadline)),
                self._live(sweeper.run()),
                self._live(shop.dispatching.keep()),
            )
        ]

    def sleep(self, seconds: float) -> None:
        """Do nothing for a while, and then go on as if nothing had happened."""
        self._line.asleep_until = self._servers.network.seconds() + seconds

    async def kill(self) -> None:
        """Die at once; no call that is on its way is answered any more."""
        self._line.dead = True
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for each in results:
            if isinstance(each, BaseException) and not isinstance(each, Killed | asyncio.CancelledError):
                raise each

    def check(self) -> None:
        """Raise what a loop of its own ended with, if one did."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _live(self, loop: Awaitable[None]) -> None:
        await loop

    async def _follow(self, deliveries: Deliveries[Any], handle: Callable[[Any], Awaitable[None]]) -> None:
        while True:
            await self._line.live()
            delivery = deliveries.take()
            if delivery is None:
                await asyncio.sleep(IDLE_SECONDS)
                continue
            if delivery.was_left:
                self._servers.seen[Seen.REDELIVERED] += 1
            try:
                await handle(delivery.item)
            except RuntimeServiceError:
                deliveries.put_off(delivery)
            else:
                deliveries.done(delivery)

    async def _command(self, envelope: Envelope) -> None:
        name = envelope.type.split(".")[2]
        metadata = SimpleNamespace(num_delivered=1, sequence=SimpleNamespace(stream=1))
        raw = SimpleNamespace(subject=f"milepost.command.{name}", metadata=metadata)
        message = StoredMessage(encode(envelope), raw)
        publisher = cast(VerdictPublisher, self._line.guard(self._servers.verdicts))
        await handle_stored(cast(NatsMessage, message), self._entrance, publisher)
        if not message.acknowledged:
            raise RuntimeServiceError("put off")
