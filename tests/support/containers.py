"""The three servers as containers, for machines with a Docker engine.

Each has passwords of its own for the session, since Docker opens their ports to the network. NATS and S3 have a
minute to be ready, Postgres two (by testcontainers); the session ends when one is not, and none is left behind.
"""

import io
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import urllib3
from milepost_infra.endpoints import StackEndpoints
from milepost_runtime.settings import BusSettings, StoreSettings
from minio import Minio
from minio.error import MinioException

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

IMAGES = {"NATS": "nats:2", "POSTGRES": "postgres:18", "S3": "chrislusf/seaweedfs:4.48"}
NATS_PORT = 4222
S3_PORT = 8333
MINIO_PORT = 9000
READY_SECONDS_MAX = 60.0
PROBE_SECONDS_MAX = 2.0
PROBE_INTERVAL_SECONDS = 0.2
LOG_BYTES_SHOWN = 2000
USER = "milepost"
SEAWEED_COMMAND = (
    "mini -dir=/data -admin.ui=false -webdav=false -s3.port.iceberg=0 -s3.port.lance=0 -master.telemetry=false"
    " -s3.allowDeleteBucketNotEmpty=false -s3.autoCreateBucket=false -volume.max=0 -master.volumeSizeLimitMB=1024"
)
"""As the embedded stack starts it."""
POSTGRES_COMMAND = "-c max_connections=200 -c timezone=UTC"


def image(server: str) -> str:
    """Return the image of a server (``NATS``, ``POSTGRES``, ``S3``), by MILEPOST_TEST_IMAGE_<server>."""
    return os.environ.get(f"MILEPOST_TEST_IMAGE_{server}", IMAGES[server])


@contextmanager
def container_stack() -> Iterator[StackEndpoints]:
    """Yield a stack of three containers; they are removed at the end."""
    with ExitStack() as containers:
        yield StackEndpoints(
            bus=_start_nats(containers),
            store=_start_s3(containers),
            database_url=_start_postgres(containers),
        )


# testcontainers is imported only where it is used: its import reads Docker's settings and fails on wrong ones.


def _start_nats(containers: ExitStack) -> BusSettings:
    # Not NatsContainer: its module warns at import that it is deprecated, and a warning is an error here.
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    password = secrets.token_hex(24)
    container = DockerContainer(image("NATS")).with_exposed_ports(NATS_PORT)
    container.with_command(f"--jetstream --user {USER} --pass {password}")
    container.waiting_for(
        LogMessageWaitStrategy("Server is ready").with_startup_timeout(int(READY_SECONDS_MAX))
    )
    containers.enter_context(container)
    return BusSettings(url=f"nats://{USER}:{password}@{_address(container, NATS_PORT)}")


def _start_postgres(containers: ExitStack) -> str:
    from testcontainers.community.postgres import PostgresContainer

    container = PostgresContainer(
        image("POSTGRES"),
        username=USER,
        password=secrets.token_hex(24),
        dbname="milepost",
        driver="asyncpg",
    )
    containers.enter_context(container.with_command(POSTGRES_COMMAND))
    return container.get_connection_url()


def _start_s3(containers: ExitStack) -> StoreSettings:
    from testcontainers.core.container import DockerContainer

    access_key, secret_key = secrets.token_hex(10), secrets.token_hex(24)
    name = image("S3")
    container = DockerContainer(name)
    if "minio" in name:
        port = MINIO_PORT
        container.with_env("MINIO_ROOT_USER", access_key).with_env("MINIO_ROOT_PASSWORD", secret_key)
        container.with_command("server /data")
    else:
        port = S3_PORT
        container.with_env("AWS_ACCESS_KEY_ID", access_key).with_env("AWS_SECRET_ACCESS_KEY", secret_key)
        container.with_command(SEAWEED_COMMAND)
    containers.enter_context(container.with_exposed_ports(port))
    address = _address(container, port)
    store = StoreSettings(endpoint=f"http://{address}", access_key=access_key, secret_key=secret_key)
    _wait_for_objects(container, address, store)
    return store


def _address(container: "DockerContainer", port: int) -> str:
    return f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"


def _wait_for_objects(container: "DockerContainer", address: str, store: StoreSettings) -> None:
    """Wait until an object can be written and read: SeaweedFS is healthy before its volumes are there."""
    client = Minio(
        address,
        access_key=store.access_key,
        secret_key=store.secret_key,
        secure=False,
        region=store.region,
        http_client=urllib3.PoolManager(timeout=PROBE_SECONDS_MAX, retries=False),
    )
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            return _write_and_read(client)
        except (MinioException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if time.monotonic() > deadline:
                log = b"".join(container.get_logs())[-LOG_BYTES_SHOWN:].decode(errors="replace")
                raise TimeoutError(f"{container.image} takes no objects: {error}\n{log}") from error
            # A container cannot tell us that it is ready; this asks again, as testcontainers itself does.
            time.sleep(PROBE_INTERVAL_SECONDS)


def _write_and_read(client: Minio) -> None:
    bucket, key = "readiness", "ready"
    if not client.bucket_exists(bucket):
        client.make_bucket(bucket)
    client.put_object(bucket, key, io.BytesIO(b"ready"), 5)
    client.get_object(bucket, key).close()
    client.remove_object(bucket, key)
    client.remove_bucket(bucket)
