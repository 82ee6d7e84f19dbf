"""Fixtures of the dashboard's tests: a whole orchestrator and a real browser."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from milepost_infra.endpoints import StackEndpoints
from playwright.async_api import Browser

from tests.dashboard.browser import Visitor, opened_browser, visitor
from tests.orchestrator.running import Running, run_orchestrator


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for the session; without one the tests fail, they never skip."""
    async with opened_browser() as started:
        yield started


@pytest.fixture
async def running(tenant: StackEndpoints, tmp_path: Path) -> AsyncIterator[Running]:
    """A whole orchestrator on a tenant of its own."""
    async with run_orchestrator(tenant, tmp_path) as started:
        yield started


@pytest.fixture
async def person(browser: Browser, running: Running) -> AsyncIterator[Visitor]:
    """Someone who looks at the dashboard; the browser must not complain about anything."""
    async with visitor(browser, str(running.http.base_url).rstrip("/")) as found:
        yield found
        assert found.complaints == []
