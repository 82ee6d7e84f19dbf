"""The lines between processes and servers: slow, cut, answers lost, the process dead or asleep."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Generic, TypeVar, cast

from milepost_contracts.envelope import Envelope
from milepost_contracts.records import DispatchEnvelope
from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.testing.kill_points import Killed, KillPoints

Port = TypeVar("Port")
Item = TypeVar("Item")
LATENCY_SECONDS_MAX = 0.05
PUT_OFF_SECONDS_MAX = 8.0


@dataclass
class Network:
    """What all lines have in common; the seed decides the order of everything."""

    random: Random
    away_until: float = 0.0
    losing_until: float = 0.0
    """Until then every fifth answer is lost: what was asked for has happened all the same."""
    acknowledged: dict[str, int] = field(default_factory=dict[str, int])
    """Sequences of the events whose append was answered, by event id."""

    async def reach(self) -> None:
        await asyncio.sleep(self.random.uniform(0.0, LATENCY_SECONDS_MAX))
        if self.seconds() < self.away_until:
            raise BusUnavailableError("the bus is away")

    async def answer(self) -> None:
        await asyncio.sleep(self.random.uniform(0.0, LATENCY_SECONDS_MAX))
        if self.seconds() < self.losing_until and self.random.random() < 0.2:
            raise BusUnavailableError("the answer was lost")

    @staticmethod
    def seconds() -> float:
        return asyncio.get_running_loop().time()


class Line(KillPoints):
    """One process's line to the servers. A dead process does nothing more, one that sleeps nothing for now."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network
        self.dead = False
        self.asleep_until = 0.0
        self.cut_until = 0.0

    def guard(self, port: Port) -> Port:
        """Return the port as this process reaches it."""
        return cast(Port, _Lined(port, self))

    async def live(self) -> None:
        """Go on, if this process does.

        Raises:
            Killed: it does not.
        """
        while not self.dead and self._network.seconds() < self.asleep_until:  # noqa: ASYNC110
            await asyncio.sleep(self.asleep_until - self._network.seconds())
        if self.dead:
            raise Killed

    async def _reach(self) -> None:
        await self._network.reach()
        if self._network.seconds() < self.cut_until:
            raise BusUnavailableError("this process is cut off")

    def call(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        """Return a method as seen through the line."""

        async def lined(*values: Any, **named: Any) -> Any:
            await self.live()
            await self._reach()
            await self.live()
            result = await call(*values, **named)
            await self._network.answer()
            await self.live()
            if values and isinstance(values[0], Envelope) and not isinstance(values[0], DispatchEnvelope):
                self._network.acknowledged[values[0].id] = result
            return result

        return lined

    def generate(self, call: Callable[..., AsyncGenerator[Any]]) -> Callable[..., AsyncGenerator[Any]]:
        """Return a method that yields as seen through the line."""

        async def lined(*values: Any, **named: Any) -> AsyncGenerator[Any]:
            await self.live()
            await self._reach()
            async for each in call(*values, **named):
                await self.live()
                yield each

        return lined

    def at_once(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a blocking method; a dead process does not call it."""

        def lined(*values: Any, **named: Any) -> Any:
            if self.dead:
                raise Killed
            return call(*values, **named)

        return lined


class _Lined:
    def __init__(self, port: object, line: Line) -> None:
        self._port = port
        self._line = line

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if inspect.iscoroutinefunction(value):
            return self._line.call(value)
        if inspect.isasyncgenfunction(value):
            return self._line.generate(value)
        return self._line.at_once(value) if callable(value) else value


@dataclass
class _Delivery(Generic[Item]):
    item: Item
    free_at: float = 0.0
    deliveries: int = 0
    put_off: int = 0

    @property
    def was_left(self) -> bool:
        """Whether somebody took it and was never heard of again."""
        return self.deliveries > self.put_off + 1


@dataclass
class Deliveries(Generic[Item]):
    """A durable consumer: each item is delivered until somebody acknowledges it."""

    lease_seconds: float
    waiting: list[_Delivery[Item]] = field(default_factory=list[Any])

    def add(self, item: Item) -> None:
        self.waiting.append(_Delivery(item))

    def take(self) -> _Delivery[Item] | None:
        now = asyncio.get_running_loop().time()
        found = next((each for each in self.waiting if each.free_at <= now), None)
        if found is not None:
            found.deliveries += 1
            found.free_at = now + self.lease_seconds
        return found

    def done(self, delivery: _Delivery[Item]) -> None:
        if delivery in self.waiting:
            self.waiting.remove(delivery)

    def put_off(self, delivery: _Delivery[Item]) -> None:
        delivery.put_off += 1
        delay = min(0.5 * 2.0**delivery.put_off, PUT_OFF_SECONDS_MAX)
        delivery.free_at = asyncio.get_running_loop().time() + delay
