"""What every carrier of signals must do: one suite, run against the double and against core NATS."""

import asyncio

import pytest
from milepost_runtime.bus.signals import NatsSignals
from milepost_runtime.signals import Owner, Signals
from milepost_runtime.testing.signals import MemorySignals

from tests.runtime_bus.bus_support import Bus

WAIT_SECONDS = 10.0
OWNER = Owner(worker_id="w-1", attempt=2)


class Ear:
    """Counts the calls to wake."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[None] = asyncio.Queue()

    async def wake(self) -> None:
        self._heard.put_nowait(None)

    async def heard(self) -> None:
        """Wait for the next call."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self._heard.get()

    @property
    def silent(self) -> bool:
        return self._heard.empty()


class SignalsConformance:
    """The suite; a subclass brings the ``signals`` fixture."""

    async def test_owner_answers(self, signals: Signals) -> None:
        """Whoever serves an operation is named to those who ask."""
        await signals.serve(OWNER, "op-1", Ear().wake)
        assert await signals.ask_owner("op-1", timeout_seconds=WAIT_SECONDS) == OWNER

    async def test_nobody_owns(self, signals: Signals) -> None:
        """Without an owner the answer is None, at once and not after the time."""
        await signals.serve(OWNER, "op-1", Ear().wake)
        async with asyncio.timeout(WAIT_SECONDS / 2):
            assert await signals.ask_owner("op-2", timeout_seconds=WAIT_SECONDS) is None

    async def test_owner_is_woken(self, signals: Signals) -> None:
        """Every notify wakes the owner of that operation and nobody else."""
        ear, other = Ear(), Ear()
        await signals.serve(OWNER, "op-1", ear.wake)
        await signals.serve(OWNER, "op-2", other.wake)
        await signals.notify("op-1")
        await signals.notify("op-1")
        await ear.heard()
        await ear.heard()
        assert other.silent

    async def test_question_does_not_wake(self, signals: Signals) -> None:
        """To be asked is not to be told to look."""
        ear = Ear()
        await signals.serve(OWNER, "op-1", ear.wake)
        await signals.ask_owner("op-1", timeout_seconds=WAIT_SECONDS)
        assert ear.silent

    async def test_notify_without_owner(self, signals: Signals) -> None:
        """A signal that nobody hears is lost and no error; the next owner hears the next one."""
        await signals.notify("op-1")
        ear = Ear()
        await signals.serve(OWNER, "op-1", ear.wake)
        await signals.notify("op-1")
        await ear.heard()
        assert ear.silent

    async def test_closed_owner_is_silent(self, signals: Signals) -> None:
        """After close nobody answers and nobody is woken; closing again does no harm."""
        ear = Ear()
        subscription = await signals.serve(OWNER, "op-1", ear.wake)
        await subscription.close()
        await subscription.close()
        assert await signals.ask_owner("op-1", timeout_seconds=WAIT_SECONDS) is None
        await signals.notify("op-1")
        assert ear.silent


@pytest.mark.unit
class TestMemorySignals(SignalsConformance):
    """The double."""

    @pytest.fixture
    def signals(self) -> Signals:
        return MemorySignals()


@pytest.mark.integration
class TestNatsSignals(SignalsConformance):
    """The real ones."""

    @pytest.fixture
    def signals(self, bus: Bus) -> Signals:
        return NatsSignals(bus.connection, bus.settings)
