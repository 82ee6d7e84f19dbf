"""Where Postgres is: frozen, validated at construction, read from the environment at the edge."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from milepost_runtime.errors import SettingsError

_SCHEMA = re.compile(r"^[a-z_][a-z0-9_]{0,62}$")


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """One Postgres database."""

    url: str = field(repr=False)
    """``postgresql+asyncpg://user:password@host:port/database``."""
    schema: str = "public"
    """Where the tables are; a rebuild has one of its own."""
    connections_max: int = 10
    connect_timeout_seconds: float = 5.0
    command_timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        if not self.url:
            raise SettingsError("MILEPOST_DATABASE_URL is empty; `milepost up` starts a stack and sets it")
        if urlsplit(self.url).scheme != "postgresql+asyncpg":
            raise SettingsError("MILEPOST_DATABASE_URL must start with postgresql+asyncpg://")
        if not _SCHEMA.match(self.schema):
            raise SettingsError(f"the schema {self.schema!r} is not a plain name of Postgres")

    @property
    def shown_url(self) -> str:
        """Host and database without user and password, for logs."""
        parts = urlsplit(self.url)
        return parts.netloc.rpartition("@")[2] + parts.path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read MILEPOST_DATABASE_URL."""
        return cls(url=environment.get("MILEPOST_DATABASE_URL", ""))
