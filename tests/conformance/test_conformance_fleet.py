"""What every fleet and every catalogue of kinds must do: the doubles and the buckets of JetStream."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from milepost_contracts.examples import HEARTBEAT_EXAMPLE, KIND_EXAMPLE
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_contracts.kinds import KindDescription
from milepost_runtime.bus.fleet import NatsFleet, NatsKindCatalogue
from milepost_runtime.fleet import Fleet, KindCatalogue
from milepost_runtime.testing.clock import ManualClock
from milepost_runtime.testing.fleet import MemoryFleet, MemoryKindCatalogue

from tests.runtime_bus.bus_support import FLEET_TTL_SECONDS, Bus

Passing = Callable[[float], Awaitable[None]]


def worker(worker_id: str, *operations: str) -> WorkerHeartbeat:
    return HEARTBEAT_EXAMPLE.model_copy(update={"worker_id": worker_id, "operations": operations})


def kind(name: str, unit_name: str = "bar") -> KindDescription:
    return KIND_EXAMPLE.model_copy(update={"kind": name, "unit_name": unit_name})


class FleetConformance:
    """The suite; a subclass brings ``fleet``, and ``let_pass`` which lets time go by."""

    async def test_empty_fleet(self, fleet: Fleet) -> None:
        """Before anyone beats there is nobody."""
        assert await fleet.workers() == []

    async def test_workers_are_sorted(self, fleet: Fleet) -> None:
        """Live workers come back as they described themselves, by id."""
        for worker_id in ("w-2", "w-1", "w-3"):
            await fleet.beat(worker(worker_id, "op-1"))
        assert await fleet.workers() == [worker(f"w-{number}", "op-1") for number in (1, 2, 3)]

    async def test_newest_beat_counts(self, fleet: Fleet) -> None:
        """A worker is there once, as it last described itself."""
        await fleet.beat(worker("w-1", "op-1"))
        await fleet.beat(worker("w-1", "op-2"))
        assert await fleet.workers() == [worker("w-1", "op-2")]

    async def test_leaving(self, fleet: Fleet) -> None:
        """A worker that leaves is gone at once and may come back; leaving twice does no harm."""
        await fleet.beat(worker("w-1"))
        await fleet.beat(worker("w-2"))
        await fleet.leave("w-1")
        await fleet.leave("w-1")
        assert await fleet.workers() == [worker("w-2")]
        await fleet.beat(worker("w-1"))
        assert len(await fleet.workers()) == 2

    async def test_silent_worker_vanishes(self, fleet: Fleet, let_pass: Passing) -> None:
        """A worker that stops beating vanishes; one that beats on stays."""
        await fleet.beat(worker("w-1"))
        await fleet.beat(worker("w-2"))
        for _ in range(3):
            await let_pass(FLEET_TTL_SECONDS / 2)
            await fleet.beat(worker("w-2"))
        assert await fleet.workers() == [worker("w-2")]


class CatalogueConformance:
    """The suite; a subclass brings ``catalogue``."""

    async def test_unknown_kind(self, catalogue: KindCatalogue) -> None:
        """A kind that nobody announced is not there."""
        assert await catalogue.describe("nothing") is None
        assert await catalogue.kinds() == []

    async def test_announced_kinds_are_sorted(self, catalogue: KindCatalogue) -> None:
        """Every announced kind is described as it was announced."""
        await catalogue.announce(kind("trainer", "epoch"))
        await catalogue.announce(kind("backtest"))
        assert await catalogue.describe("trainer") == kind("trainer", "epoch")
        assert await catalogue.kinds() == [kind("backtest"), kind("trainer", "epoch")]

    async def test_newest_announcement_counts(self, catalogue: KindCatalogue) -> None:
        """A newer worker's description replaces the older one's."""
        await catalogue.announce(kind("backtest", "bar"))
        await catalogue.announce(kind("backtest", "tick"))
        assert await catalogue.kinds() == [kind("backtest", "tick")]


@pytest.mark.unit
class TestMemoryFleet(FleetConformance):
    """The double."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def fleet(self, clock: ManualClock) -> Fleet:
        return MemoryFleet(clock, ttl_seconds=FLEET_TTL_SECONDS)

    @pytest.fixture
    def let_pass(self, clock: ManualClock) -> Passing:
        async def passing(seconds: float) -> None:
            clock.advance(seconds)

        return passing


@pytest.mark.integration
class TestNatsFleet(FleetConformance):
    """The real one, whose entries the server lets expire."""

    @pytest.fixture
    def fleet(self, bus: Bus) -> Fleet:
        return NatsFleet(bus.connection, bus.settings)

    @pytest.fixture
    def let_pass(self) -> Passing:
        return asyncio.sleep  # the server's clock cannot be set


@pytest.mark.unit
class TestMemoryKindCatalogue(CatalogueConformance):
    """The double."""

    @pytest.fixture
    def catalogue(self) -> KindCatalogue:
        return MemoryKindCatalogue()


@pytest.mark.integration
class TestNatsKindCatalogue(CatalogueConformance):
    """The real one."""

    @pytest.fixture
    def catalogue(self, bus: Bus) -> KindCatalogue:
        return NatsKindCatalogue(bus.connection, bus.settings)
