"""A connected tenant for every test of the bus, and a broker of one's own for those who kill it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from milepost_infra.embedded.stack import EmbeddedStack
from milepost_infra.endpoints import StackEndpoints

from tests.runtime_bus.bus_support import Bus, open_bus
from tests.runtime_bus.proxy import Proxy

NO_OTHER_SERVERS = {
    "MILEPOST_DATABASE_URL": "postgresql+asyncpg://nobody:nothing@127.0.0.1:1/none",
    "MILEPOST_S3_ENDPOINT": "http://127.0.0.1:1",
    "MILEPOST_S3_ACCESS_KEY": "nobody",
    "MILEPOST_S3_SECRET_KEY": "nothing",
}


@pytest.fixture
async def bus(tenant: StackEndpoints) -> AsyncIterator[Bus]:
    """One connection; the topology is there."""
    async with open_bus(tenant.bus) as opened:
        yield opened


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedStack]:
    """A NATS server of the test's own, to be killed; no other server runs."""
    stack = EmbeddedStack(tmp_path / "broker", external=NO_OTHER_SERVERS)
    (tmp_path / "broker").mkdir()
    async with stack:
        yield stack


@pytest.fixture
async def proxy(tenant: StackEndpoints) -> AsyncIterator[Proxy]:
    """A way to the tenant's bus that the test can cut or make one-sided."""
    async with Proxy(tenant.bus) as opened:
        yield opened
