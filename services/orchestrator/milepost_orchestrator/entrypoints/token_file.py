"""The file of access tokens: names, roles and digests, never a token itself."""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Annotated

from milepost_runtime.errors import SettingsError
from milepost_runtime.store.durable import replacing
from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError

from milepost_orchestrator.entrypoints.roles import Role

NAME_PATTERN = r"^[a-z0-9][a-z0-9._@-]{0,63}$"
TOKEN_BYTES = 32
Version = tuple[int, int]
"""Another one means that the file is another."""


class TokenNameError(Exception):
    """Nobody can have a token of this name, or somebody has, or nobody."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix
        """What to do."""


class TokenEntry(BaseModel):
    """One token, as it is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
    role: Annotated[Role, BeforeValidator(Role.of)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    tokens: tuple[TokenEntry, ...]


def digest_of_token(token: str) -> str:
    """Return what is kept of a token. Nothing slower is needed: tokens are random and long."""
    return hashlib.sha256(token.encode()).hexdigest()


def version_of(path: Path) -> Version:
    """Return what changes with the file.

    Raises:
        SettingsError: there is no such file, or it cannot be looked at.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    return found.st_mtime_ns, found.st_ino


def read_entries(path: Path) -> tuple[TokenEntry, ...]:
    """Return the tokens of a file.

    Raises:
        SettingsError: it holds something else; every problem is named, without what was found there.
    """
    try:
        entries = _Content.model_validate_json(path.read_bytes()).tokens
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValidationError as error:
        # Not pydantic's own words, which quote what they found.
        faults = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise SettingsError(
            f"MILEPOST_HTTP_TOKENS: {path} holds no tokens ({faults}); make it with `milepost tokens create`"
        ) from None
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"MILEPOST_HTTP_TOKENS: {path} has two tokens of {', '.join(twice)}")
    return entries


def create_token(path: Path, name: str, role: Role) -> str:
    """Add someone to a file, which is made if need be, and return the token: it is not kept anywhere.

    Raises:
        TokenNameError: the name is no name, or has a token.
        SettingsError: the file holds something else.
    """
    entries = read_entries(path) if path.exists() else ()
    if any(entry.name == name for entry in entries):
        raise TokenNameError(f"{name} has a token", f"`milepost tokens revoke {name}` ends it")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    try:
        entry = TokenEntry(name=name, role=role, sha256=digest_of_token(token))
    except ValidationError:
        raise TokenNameError(
            f"{name!r} is no name",
            "use small letters, digits and . _ @ -, at most 64, a letter or digit first",
        ) from None
    _write(path, (*entries, entry))
    return token


def revoke_token(path: Path, name: str) -> None:
    """Take someone's token out of a file: it lets nobody in any more, nor does a session that it opened.

    Raises:
        TokenNameError: nobody of that name is in it.
        SettingsError: it is no file of tokens.
    """
    entries = read_entries(path)
    kept = tuple(entry for entry in entries if entry.name != name)
    if len(kept) == len(entries):
        raise TokenNameError(f"{name} has no token", "`milepost tokens list` says who has")
    _write(path, kept)


def _write(path: Path, entries: tuple[TokenEntry, ...]) -> None:
    documents = [{**entry.model_dump(), "role": entry.role.word} for entry in entries]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(json.dumps({"tokens": documents}, indent=2).encode() + b"\n")


def _unreadable(path: Path, error: OSError) -> SettingsError:
    return SettingsError(f"MILEPOST_HTTP_TOKENS: {path} cannot be read: {error.strerror}")
