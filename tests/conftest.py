"""Fixtures for every test: the real stack, and a tenant on it."""

import signal
import threading
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings
from milepost_infra.endpoints import StackEndpoints

from tests.support.order import dealt, processes
from tests.support.stack import chosen_stack, fresh_tenant, migrated_database, trust_the_machine

# How fast a machine makes its examples says nothing about the code.
settings.register_profile("milepost", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("milepost")

# A shell has what it starts in the background ignore Ctrl-C, and with it everything that the tests start.
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes, what takes long begins early."""
    if (parts := processes()) > 1:
        items[:] = dealt(items, parts)


@pytest.fixture(scope="session")
async def stack() -> AsyncIterator[StackEndpoints]:
    """One real stack for the session (with pytest-xdist: for each of its processes)."""
    async with chosen_stack() as endpoints:
        await trust_the_machine(endpoints)
        yield endpoints


@pytest.fixture(scope="session")
async def template(stack: StackEndpoints) -> AsyncIterator[str]:
    """The name of a database with the orchestrator's tables and nothing in them."""
    async with migrated_database(stack) as name:
        yield name


@pytest.fixture
async def tenant(stack: StackEndpoints, template: str) -> AsyncIterator[StackEndpoints]:
    """The stack with a fresh bus prefix and bucket, and a database with the orchestrator's empty tables."""
    async with fresh_tenant(stack, template=template) as endpoints:
        yield endpoints


@pytest.fixture
async def bare_tenant(stack: StackEndpoints) -> AsyncIterator[StackEndpoints]:
    """The stack as an orchestrator finds it that is the first ever: without tables."""
    async with fresh_tenant(stack) as endpoints:
        yield endpoints
