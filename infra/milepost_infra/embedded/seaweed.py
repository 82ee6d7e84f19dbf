"""The object store: ``weed mini`` of SeaweedFS, an S3 server, on ports of this machine only."""

import asyncio
import io
from collections.abc import Mapping
from pathlib import Path

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from milepost_infra.embedded.child_process import Launch
from milepost_infra.embedded.credentials import Credentials
from milepost_infra.embedded.guard import Guard
from milepost_infra.embedded.nats import program
from milepost_infra.embedded.nats_users import NatsUser
from milepost_infra.embedded.ports import HOST
from milepost_infra.embedded.server import EmbeddedServer, ServerName

PROBE_SECONDS_MAX = 2.0
FURNISH_SECONDS_MAX = 30.0
"""The first object makes the first volumes, which takes its time on a busy machine."""
REGION = "us-east-1"
MARKER_KEY = "milepost-ready"
PORT_OPTIONS = (
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
)
"""Every port is set: what is left out becomes a default plus 10 000 and collides with a second stack."""

_OPTIONS = (
    f"-ip={HOST}",
    f"-ip.bind={HOST}",
    "-admin.ui=false",
    "-webdav=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-master.telemetry=false",
    "-s3.allowDeleteBucketNotEmpty=false",
    "-s3.autoCreateBucket=false",
    "-volume.max=0",
    "-volume.preStopSeconds=0",
    "-master.volumeSizeLimitMB=1024",
    # Relative to the working directory: a path of a deep directory would be too long for a socket.
    "-filer.localSocket=filer.sock",
    "-s3.localSocket=s3.sock",
)


class SeaweedServer(EmbeddedServer):
    """One process: master, volume server, filer and S3 gateway."""

    name: ServerName = "s3"
    ready_seconds_max = 60.0
    stop_seconds_max = 4.0
    """It takes one or two. About one in ten hangs in its volume server; killing it then loses nothing."""

    def __init__(
        self,
        directory: Path,
        log: Path,
        guard: Guard,
        *,
        ports: Mapping[str, int],
        credentials: Credentials,
        bucket: str,
    ) -> None:
        super().__init__(directory, log, guard)
        self._ports = dict(ports)
        self._credentials = credentials
        self._bucket = bucket

    @property
    def endpoint(self) -> str:
        """The S3 address."""
        return f"http://{HOST}:{self._ports['s3.port']}"

    def settings(self, user: NatsUser) -> dict[str, str]:
        """Return the endpoint and the credentials."""
        return {
            "MILEPOST_S3_ENDPOINT": self.endpoint,
            "MILEPOST_S3_ACCESS_KEY": self._credentials.s3_access_key,
            "MILEPOST_S3_SECRET_KEY": self._credentials.s3_secret_key,
            "MILEPOST_S3_REGION": REGION,
        }

    async def prepare(self) -> None:
        """Make the data directory."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def launch(self) -> Launch:
        """Return the command line; the credentials travel by environment."""
        ports = [f"-{option}={self._ports[option]}" for option in PORT_OPTIONS]
        return Launch(
            name=self.name,
            command=[program("weed"), "mini", f"-dir={self.directory}", *_OPTIONS, *ports],
            directory=self.directory,
            log=self.log,
            environment={
                "AWS_ACCESS_KEY_ID": self._credentials.s3_access_key,
                "AWS_SECRET_ACCESS_KEY": self._credentials.s3_secret_key,
            },
        )

    async def probe(self) -> bool:
        """Say whether the S3 server lists its buckets and reads what was written before its start.

        It lists before its volumes are known, and a read that comes too early is refused for the next five
        seconds; so its master is asked for them first.
        """
        return await asyncio.to_thread(lambda: self._volumes_are_known() and self._reads())

    async def furnish(self) -> None:
        """Make the bucket, and the object that the next start is judged by."""
        await asyncio.to_thread(self._ensure_bucket)

    def _client(self, *, seconds_max: float = PROBE_SECONDS_MAX) -> Minio:
        return Minio(
            f"{HOST}:{self._ports['s3.port']}",
            access_key=self._credentials.s3_access_key,
            secret_key=self._credentials.s3_secret_key,
            secure=False,
            region=REGION,
            http_client=urllib3.PoolManager(timeout=seconds_max, retries=False),
        )

    def _volumes_are_known(self) -> bool:
        """Say whether the volume server has reported to the master; its first report names all volumes."""
        url = f"http://{HOST}:{self._ports['master.port']}/dir/status"
        try:
            with urllib3.PoolManager(timeout=PROBE_SECONDS_MAX, retries=False) as pool:
                status = pool.request("GET", url).json()
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            return False
        return bool(status["Topology"].get("DataCenters"))

    def _reads(self) -> bool:
        client = self._client()
        try:
            if self._bucket in {bucket.name for bucket in client.list_buckets()}:
                client.get_object(self._bucket, MARKER_KEY).close()
        except S3Error as error:
            # Not there: an earlier start was interrupted before it had written it.
            return error.code == "NoSuchKey"
        except (MinioException, urllib3.exceptions.HTTPError, OSError, ValueError):
            return False
        return True

    def _ensure_bucket(self) -> None:
        client = self._client(seconds_max=FURNISH_SECONDS_MAX)
        if not client.bucket_exists(self._bucket):
            client.make_bucket(self._bucket)
        client.put_object(self._bucket, MARKER_KEY, io.BytesIO(b"ready"), 5, content_type="text/plain")
