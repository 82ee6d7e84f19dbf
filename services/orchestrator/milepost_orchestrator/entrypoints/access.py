"""Who comes in with a token, and for how long a browser that brought one.

A browser keeps a session: name and end, signed with the digest of the token. So it ends with its token, and
every orchestrator of a stack accepts it. Authority: the file of tokens, read again whenever it has changed.
Failures: a file that cannot be read as tokens keeps an orchestrator from starting; a later one of that kind is
named in the log, and the tokens of the one before stay.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

import structlog
from milepost_runtime.errors import SettingsError

from milepost_orchestrator.entrypoints.roles import Person, Role
from milepost_orchestrator.entrypoints.token_file import (
    TokenEntry,
    Version,
    digest_of_token,
    read_entries,
    version_of,
)

log = structlog.get_logger()

SESSION_DURATION = timedelta(hours=12)
_SEPARATOR = "~"
"""Between the fields of a session; no name has it."""


class AccessTokens:
    """The tokens that let someone in; none at all lets everyone in."""

    def __init__(self, entries: Sequence[TokenEntry] = (), path: Path | None = None) -> None:
        self._fixed = tuple(entries)
        self._path = path
        self._version: Version | None = None
        self._read: tuple[TokenEntry, ...] = ()

    @classmethod
    def of(cls, token: str | None, path: Path | None, *, reader_token: str | None = None) -> Self:
        """Return an administrator's token, a reader's, and those of a file.

        Raises:
            SettingsError: the file has no tokens in it; every problem is named.
        """
        given = (("token", Role.ADMIN, token), ("reader", Role.READ, reader_token))
        entries = [
            TokenEntry(name=name, role=role, sha256=digest_of_token(found))
            for name, role, found in given
            if found is not None
        ]
        tokens = cls(entries, path)
        if path is not None:
            tokens._version, tokens._read = version_of(path), read_entries(path)
        return tokens

    @property
    def are_asked_for(self) -> bool:
        """Whether nobody comes in without one; also true for a file that has none any more."""
        return bool(self._fixed) or self._path is not None

    def bearer(self, token: str) -> Person | None:
        """Return whose token it is."""
        given = digest_of_token(token)
        # All are compared, so that the time says nothing.
        found = [entry for entry in self._entries() if hmac.compare_digest(entry.sha256, given)]
        return Person(found[0].name, found[0].role) if found else None

    def session(self, person: Person, now: datetime) -> str | None:
        """Return what a browser may keep instead of the token; None when the person has none any more."""
        ends = int((now + SESSION_DURATION).timestamp())
        for entry in self._entries():
            if entry.name == person.name:
                return _SEPARATOR.join((entry.name, str(ends), _signature(entry, ends)))
        return None

    def person_of_session(self, session: str, now: datetime) -> Person | None:
        """Return whose session it is; None when it has ended, or its token is gone."""
        name, _, rest = session.partition(_SEPARATOR)
        ends, _, signature = rest.partition(_SEPARATOR)
        if not ends.isascii() or not ends.isdecimal() or len(ends) > 12 or int(ends) < now.timestamp():
            return None
        for entry in self._entries():
            if entry.name == name and hmac.compare_digest(
                _signature(entry, int(ends)).encode(), signature.encode()
            ):
                return Person(entry.name, entry.role)
        return None

    def _entries(self) -> tuple[TokenEntry, ...]:
        if self._path is not None:
            try:
                version = version_of(self._path)
                if version != self._version:
                    self._version, self._read = version, read_entries(self._path)
                    log.info("access tokens read", count=len(self._read))
            except SettingsError as error:
                log.warning("access tokens not read, those before stay", reason=str(error))
        return self._fixed + self._read


def _signature(entry: TokenEntry, ends: int) -> str:
    words = f"milepost session of {entry.name} until {ends}".encode()
    return hmac.new(bytes.fromhex(entry.sha256), words, hashlib.sha256).hexdigest()
