"""Where the servers of one stack are, with the credentials to use them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from milepost_runtime.errors import SettingsError
from milepost_runtime.settings import BusSettings, StoreSettings

from milepost_infra.private_files import write_private


@dataclass(frozen=True, slots=True, repr=False)
class StackEndpoints:
    """The three servers: bus, object store and database."""

    bus: BusSettings
    store: StoreSettings
    database_url: str
    """``postgresql+asyncpg://user:password@host:port/database``."""

    def __post_init__(self) -> None:
        if not self.database_url:
            raise SettingsError("MILEPOST_DATABASE_URL is empty; `milepost up` starts a stack and sets it")

    def __repr__(self) -> str:
        """Addresses only: user names and passwords stay out of logs and tracebacks."""
        return (
            f"StackEndpoints(bus={self.bus.shown_url!r}, prefix={self.bus.prefix!r}, "
            f"store={self.store.endpoint!r}, bucket={self.store.bucket!r}, "
            f"database={self.shown_database_url!r})"
        )

    @property
    def shown_database_url(self) -> str:
        """Host, port and name of the database without user and password, for logs."""
        parts = urlsplit(self.database_url)
        return parts.netloc.rpartition("@")[2] + parts.path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read MILEPOST_NATS_URL, MILEPOST_PREFIX, MILEPOST_DATABASE_URL and MILEPOST_S3_*.

        Raises:
            SettingsError: one is missing or wrong; it is named.
        """
        return cls(
            bus=BusSettings.from_environment(environment),
            store=StoreSettings.from_environment(environment),
            database_url=environment.get("MILEPOST_DATABASE_URL", ""),
        )

    def environment(self) -> dict[str, str]:
        """Return the variables from which a child process reads these same endpoints."""
        return {
            "MILEPOST_NATS_URL": self.bus.url,
            "MILEPOST_PREFIX": self.bus.prefix,
            "MILEPOST_DATABASE_URL": self.database_url,
            "MILEPOST_S3_ENDPOINT": self.store.endpoint,
            "MILEPOST_S3_ACCESS_KEY": self.store.access_key,
            "MILEPOST_S3_SECRET_KEY": self.store.secret_key,
            "MILEPOST_S3_BUCKET": self.store.bucket,
            "MILEPOST_S3_REGION": self.store.region,
        }

    def save(self, path: Path) -> None:
        """Write the endpoints with their secrets to ``path``, atomically, mode 0600."""
        write_private(path, json.dumps(self.environment(), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            SettingsError: the file does not hold endpoints.
        """
        try:
            return cls.from_environment(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, AttributeError, TypeError) as error:
            raise SettingsError(f"{path} does not hold the endpoints of a stack") from error
