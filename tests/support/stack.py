"""The stack that the tests use, and tenants on it that never see each other.

MILEPOST_TEST_STACK chooses: ``embedded`` (default), ``containers`` (a Docker engine is needed; images by
MILEPOST_TEST_IMAGE_NATS, _POSTGRES and _S3) or ``external`` (servers of MILEPOST_NATS_URL,
MILEPOST_DATABASE_URL and MILEPOST_S3_*).
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import nats
from milepost_infra.embedded.stack import EmbeddedStack
from milepost_infra.endpoints import StackEndpoints
from milepost_orchestrator.adapters.database import create_engine, migrate
from milepost_orchestrator.adapters.settings import DatabaseSettings
from milepost_runtime.clock import random_id
from milepost_runtime.settings import StoreSettings
from minio import Minio
from minio.error import S3Error

from tests.support.containers import container_stack

EMPTY = "template0"
"""The database that Postgres itself copies from."""
LATE_PUTS_MAX = 3


@asynccontextmanager
async def chosen_stack() -> AsyncIterator[StackEndpoints]:
    """Yield the stack that MILEPOST_TEST_STACK names, for as long as the block runs."""
    match choice := os.environ.get("MILEPOST_TEST_STACK", "embedded"):
        case "embedded":
            with reachable_directory() as directory:
                async with EmbeddedStack(directory) as endpoints:
                    yield endpoints
        case "containers":
            with container_stack() as endpoints:
                yield endpoints
        case "external":
            yield StackEndpoints.from_environment()
        case _:
            raise ValueError(f"MILEPOST_TEST_STACK is embedded, containers or external, not {choice!r}")


class reachable_directory:  # noqa: N801 - used like a function, as tempfile.TemporaryDirectory would be
    """A temporary directory that Postgres' unprivileged user can pass; pytest's own are closed to it."""

    def __enter__(self) -> Path:
        self.path = Path(tempfile.mkdtemp(prefix="milepost-test-"))
        self.path.chmod(0o755)
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path)


async def trust_the_machine(stack: StackEndpoints) -> None:
    """Have an embedded Postgres leave writing to the system: no test takes the machine's power away."""
    if os.environ.get("MILEPOST_TEST_STACK", "embedded") == "embedded":
        await execute_sql(stack, "ALTER SYSTEM SET fsync = off")
        await execute_sql(stack, "SELECT pg_reload_conf()")


@asynccontextmanager
async def migrated_database(stack: StackEndpoints) -> AsyncIterator[str]:
    """Yield the name of a database with the orchestrator's tables, to be copied; migrating costs more."""
    name = random_id("m").replace("-", "")[:17]
    await execute_sql(stack, f"CREATE DATABASE {name} TEMPLATE {EMPTY}")
    try:
        settings = DatabaseSettings(database_url(stack, name))
        engine = create_engine(settings)
        await migrate(engine, settings)
        await engine.dispose()  # Postgres copies no database that somebody is connected to
        yield name
    finally:
        await execute_sql(stack, f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def fresh_tenant(stack: StackEndpoints, *, template: str = EMPTY) -> AsyncIterator[StackEndpoints]:
    """Yield the stack with a prefix, a bucket and a copy of a database; all are removed at the end."""
    name = random_id("t").replace("-", "")[:17]
    tenant = StackEndpoints(
        bus=replace(stack.bus, prefix=name),
        store=replace(stack.store, bucket=name),
        database_url=database_url(stack, name),
    )
    await asyncio.to_thread(minio_client(tenant.store).make_bucket, name)
    await execute_sql(stack, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield tenant
    finally:
        await delete_streams(tenant)
        await execute_sql(stack, f"DROP DATABASE {name} WITH (FORCE)")
        await asyncio.to_thread(delete_bucket, tenant.store)


def database_url(stack: StackEndpoints, name: str) -> str:
    """Return where another database of the stack's server is."""
    return urlunsplit(urlsplit(stack.database_url)._replace(path=f"/{name}"))


async def execute_sql(endpoints: StackEndpoints, statement: str) -> None:
    """Run one statement in the endpoints' database, outside of a transaction."""
    connection = await asyncpg.connect(endpoints.database_url.replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def delete_streams(endpoints: StackEndpoints) -> None:
    """Delete every JetStream stream and KV bucket of the endpoints' prefix."""
    prefix = endpoints.bus.prefix
    client = await nats.connect(endpoints.bus.url)
    try:
        jetstream = client.jetstream()
        names = [info.config.name or "" for info in await jetstream.streams_info()]
        for name in names:
            if name.startswith((f"{prefix}_", f"KV_{prefix}_")):
                await jetstream.delete_stream(name)
    finally:
        await client.close()


def minio_client(store: StoreSettings) -> Minio:
    """Return a client of the store's S3 server."""
    parts = urlsplit(store.endpoint)
    return Minio(
        parts.netloc,
        access_key=store.access_key,
        secret_key=store.secret_key,
        secure=parts.scheme == "https",
        region=store.region,
    )


def delete_bucket(store: StoreSettings) -> None:
    """Remove the bucket and all in it, with what a killed process had sent and the server puts meanwhile."""
    client = minio_client(store)
    for last in [False] * LATE_PUTS_MAX + [True]:
        for found in client.list_objects(store.bucket, recursive=True):
            client.remove_object(store.bucket, found.object_name or "")
        try:
            client.remove_bucket(store.bucket)
        except S3Error as error:
            if last or error.code != "BucketNotEmpty":
                raise
        else:
            return
