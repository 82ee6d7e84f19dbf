"""Each test has servers of its own, as far as it can see."""

import asyncio

import asyncpg
import nats
import pytest
from milepost_infra.endpoints import StackEndpoints

from tests.support.stack import fresh_tenant, minio_client

pytestmark = pytest.mark.integration


async def test_two_tenants_share_nothing(tenant: StackEndpoints, stack: StackEndpoints) -> None:
    """Two tenants of one stack differ in prefix, bucket and database."""
    async with fresh_tenant(stack) as other:
        assert tenant.bus.prefix != other.bus.prefix
        assert tenant.store.bucket != other.store.bucket
        assert tenant.database_url != other.database_url


async def test_a_tenant_leaves_nothing_behind(stack: StackEndpoints) -> None:
    """Streams, bucket and database of a tenant are gone after it."""
    async with fresh_tenant(stack) as tenant:
        name = tenant.bus.prefix
        client = await nats.connect(tenant.bus.url)
        await client.jetstream().add_stream(name=f"{name}_EVENTS", subjects=[f"{name}.event.>"])
        await client.jetstream().create_key_value(bucket=f"{name}_fleet")
        await client.close()
    client = await nats.connect(stack.bus.url)
    streams = [info.config.name or "" for info in await client.jetstream().streams_info()]
    await client.close()
    connection = await asyncpg.connect(stack.database_url.replace("+asyncpg", ""))
    databases = [row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")]
    await connection.close()
    buckets = [bucket.name for bucket in await asyncio.to_thread(minio_client(stack.store).list_buckets)]
    assert not [found for found in streams if name in found]
    assert name not in databases
    assert name not in buckets
