"""What the suites need of the real bus; the doubles need nothing."""

from collections.abc import AsyncIterator

import pytest
from milepost_infra.endpoints import StackEndpoints

from tests.runtime_bus.bus_support import Bus, open_bus


@pytest.fixture
async def bus(tenant: StackEndpoints) -> AsyncIterator[Bus]:
    """One connection to a fresh tenant; the topology is there."""
    async with open_bus(tenant.bus) as opened:
        yield opened
