"""Random credentials of one stack, made once and kept in a file that only its owner can read."""

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from milepost_infra.private_files import write_private


def _password() -> str:
    """192 random bits; letters and digits only, so it needs no escaping in any URL or file."""
    return secrets.token_hex(24)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """Every password of a stack. ``repr`` shows none."""

    nats_milepost: str = field(default_factory=_password)
    """The NATS user that may do everything."""
    nats_orchestrator: str = field(default_factory=_password)
    nats_worker: str = field(default_factory=_password)
    nats_client: str = field(default_factory=_password)
    postgres: str = field(default_factory=_password)
    s3_access_key: str = field(default_factory=lambda: secrets.token_hex(10))
    s3_secret_key: str = field(default_factory=_password)

    def __repr__(self) -> str:
        return "Credentials(...)"


def load_or_make_credentials(path: Path) -> Credentials:
    """Return the credentials kept in ``path``, making them at the first call."""
    if path.exists():
        return Credentials(**json.loads(path.read_text(encoding="utf-8")))
    credentials = Credentials()
    write_private(path, json.dumps(asdict(credentials), indent=2) + "\n")
    return credentials
