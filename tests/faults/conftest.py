"""Each fault test has a tenant, real services and a client of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from milepost_infra.endpoints import StackEndpoints

from tests.support.harness import Harness, open_harness


@pytest.fixture
async def harness(tenant: StackEndpoints, tmp_path: Path) -> AsyncIterator[Harness]:
    """A harness with no service running yet."""
    async with open_harness(tenant, tmp_path) as opened:
        yield opened
