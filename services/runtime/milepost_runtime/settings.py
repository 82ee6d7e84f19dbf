"""Where the servers are: frozen, validated at construction, read from the environment at the edge."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from milepost_runtime.errors import SettingsError


@dataclass(frozen=True, slots=True)
class BusSettings:
    """NATS with JetStream."""

    url: str
    """``nats://user:password@host:port``, several separated by commas."""
    prefix: str = "milepost"
    request_timeout_seconds: float = 5.0
    replicas: int = 1
    """Copies of each JetStream stream; 3 or 5 on a cluster."""

    def __post_init__(self) -> None:
        if not self.url:
            raise SettingsError("MILEPOST_NATS_URL is empty; `milepost up` starts a stack and sets it")

    @property
    def shown_url(self) -> str:
        """The address without user and password, for logs."""
        return ",".join(urlsplit(part).netloc.rpartition("@")[2] for part in self.url.split(","))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read MILEPOST_NATS_URL and MILEPOST_PREFIX."""
        return cls(
            url=environment.get("MILEPOST_NATS_URL", ""),
            prefix=environment.get("MILEPOST_PREFIX", "milepost"),
        )


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """An S3 server: MinIO, SeaweedFS, Ceph or a cloud's."""

    endpoint: str
    """``http://host:port`` or ``https://host``."""
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    bucket: str = "milepost"
    region: str = "us-east-1"

    def __post_init__(self) -> None:
        if urlsplit(self.endpoint).scheme not in ("http", "https"):
            raise SettingsError(
                f"MILEPOST_S3_ENDPOINT must start with http:// or https://, not {self.endpoint!r}"
            )
        if not self.access_key or not self.secret_key:
            raise SettingsError("MILEPOST_S3_ACCESS_KEY and MILEPOST_S3_SECRET_KEY must be set")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read MILEPOST_S3_ENDPOINT, _ACCESS_KEY, _SECRET_KEY, _BUCKET and _REGION."""
        return cls(
            endpoint=environment.get("MILEPOST_S3_ENDPOINT", ""),
            access_key=environment.get("MILEPOST_S3_ACCESS_KEY", ""),
            secret_key=environment.get("MILEPOST_S3_SECRET_KEY", ""),
            bucket=environment.get("MILEPOST_S3_BUCKET", "milepost"),
            region=environment.get("MILEPOST_S3_REGION", "us-east-1"),
        )
