"""Fixtures for every test: the real stack, and a tenant on it."""

from collections.abc import AsyncIterator

import pytest
from milepost_infra.endpoints import StackEndpoints

from tests.support.stack import chosen_stack, fresh_tenant


@pytest.fixture(scope="session")
async def stack() -> AsyncIterator[StackEndpoints]:
    """One real stack for the session (with pytest-xdist: for each of its processes)."""
    async with chosen_stack() as endpoints:
        yield endpoints


@pytest.fixture
async def tenant(stack: StackEndpoints) -> AsyncIterator[StackEndpoints]:
    """The stack with a fresh bus prefix, bucket and database."""
    async with fresh_tenant(stack) as endpoints:
        yield endpoints
