"""Fixtures of the orchestrator's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from milepost_infra.endpoints import StackEndpoints

from tests.orchestrator.running import Running, run_orchestrator
from tests.orchestrator.workshop import Workshop


@pytest.fixture
async def workshop(tmp_path: Path) -> Workshop:
    """The application over doubles, with the kind ``counter`` announced and the dataset ``aapl`` known."""
    return await Workshop(tmp_path).open()


@pytest.fixture
async def running(tenant: StackEndpoints, tmp_path: Path) -> AsyncIterator[Running]:
    """A whole orchestrator on a tenant of its own."""
    async with run_orchestrator(tenant, tmp_path) as started:
        yield started
