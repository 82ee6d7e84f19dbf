"""Where HTTP listens, and who may come in: frozen, validated at construction, read at the edge."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from milepost_runtime.errors import SettingsError

from milepost_orchestrator.entrypoints.access import AccessTokens

PORT_DEFAULT = 8080
TOKEN_CHARACTERS_MIN = 16


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Address and token."""

    host: str = "127.0.0.1"
    port: int = PORT_DEFAULT
    """0 for a free one."""
    port_file: Path | None = None
    """Where the port is written once it is open."""
    token: str | None = field(default=None, repr=False)
    """For everything."""
    reader_token: str | None = field(default=None, repr=False)
    """For reading only; there must be a token for everything beside it."""
    tokens_file: Path | None = None
    """Names, roles and digests of tokens, as `milepost tokens` writes them."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"MILEPOST_HTTP_PORT must be 0 to 65535, not {self.port}")
        for name, token in (("TOKEN", self.token), ("READER_TOKEN", self.reader_token)):
            if token is not None and len(token) < TOKEN_CHARACTERS_MIN:
                raise SettingsError(
                    f"MILEPOST_HTTP_{name} must have at least {TOKEN_CHARACTERS_MIN} characters"
                )
        if self.reader_token is not None and self.token in (None, self.reader_token):
            raise SettingsError("MILEPOST_HTTP_READER_TOKEN needs another MILEPOST_HTTP_TOKEN beside it")
        if self.token is None and self.tokens_file is None and not self.on_loopback:
            raise SettingsError(
                f"MILEPOST_HTTP_HOST is {self.host}, which others can reach: set MILEPOST_HTTP_TOKEN or "
                "MILEPOST_HTTP_TOKENS, or listen on 127.0.0.1"
            )

    def access(self) -> AccessTokens:
        """Return who may come in.

        Raises:
            SettingsError: the file of tokens is none.
        """
        return AccessTokens.of(self.token, self.tokens_file, reader_token=self.reader_token)

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can come in."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False  # a name may stand for any address

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read MILEPOST_HTTP_HOST, _PORT, _PORT_FILE, _TOKEN, _READER_TOKEN and _TOKENS."""
        port = environment.get("MILEPOST_HTTP_PORT", str(PORT_DEFAULT))
        if not port.isdecimal():
            raise SettingsError(f"MILEPOST_HTTP_PORT must be a number, not {port!r}")
        port_file = environment.get("MILEPOST_HTTP_PORT_FILE")
        tokens_file = environment.get("MILEPOST_HTTP_TOKENS")
        return cls(
            host=environment.get("MILEPOST_HTTP_HOST", "127.0.0.1"),
            port=int(port),
            port_file=Path(port_file) if port_file else None,
            token=environment.get("MILEPOST_HTTP_TOKEN") or None,
            tokens_file=Path(tokens_file) if tokens_file else None,
            reader_token=environment.get("MILEPOST_HTTP_READER_TOKEN") or None,
        )
