"""Who may come in, and who may change something.

Programs send a token with each request. A browser gives it once and gets a cookie that is made from it, which ends
when the token is changed. The cookie alone changes something only where the dashboard makes sure that one of its
own pages was used.
"""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote

from fastapi import Request
from starlette.exceptions import HTTPException

from milepost_orchestrator.entrypoints.dashboard.navigation import ASSETS, LOGIN, LOGOUT, PREFIX

OPEN_PATHS = frozenset({"/livez", "/readyz", LOGIN, LOGOUT})
"""What a supervisor asks, and where a person says who they are, without a token."""
COOKIE = "milepost-session"
READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Role(StrEnum):
    """What someone may do."""

    READER = "reader"
    """See everything."""
    OPERATOR = "operator"
    """And send commands."""


@dataclass(frozen=True, slots=True)
class Access:
    """The tokens; without one everybody who can reach the orchestrator is an operator."""

    token: str | None = field(default=None, repr=False)
    reader_token: str | None = field(default=None, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a token."""
        return self.token is None

    def role_of_token(self, given: str) -> Role | None:
        """Return what a token lets one do."""
        found: Role | None = None
        for role, token in ((Role.READER, self.reader_token), (Role.OPERATOR, self.token)):
            if token is not None and secrets.compare_digest(given.encode(), token.encode()):
                found = role
        return found

    def cookie_of(self, role: Role) -> str:
        """Return what a browser keeps; it can only be made with the token."""
        token = self.token if role is Role.OPERATOR else self.reader_token
        digest = hmac.new((token or "").encode(), f"dashboard {role}".encode(), hashlib.sha256).hexdigest()
        return f"{role}.{digest}"

    def role_of_cookie(self, given: str) -> Role | None:
        """Return what a cookie lets one do."""
        for role, token in ((Role.OPERATOR, self.token), (Role.READER, self.reader_token)):
            if token is not None and secrets.compare_digest(given.encode(), self.cookie_of(role).encode()):
                return role
        return None

    def role_of(self, request: Request) -> Role | None:
        """Return what whoever sent a request may do, None when they may not come in."""
        if self.is_open:
            return Role.OPERATOR
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer":
            return self.role_of_token(given)
        if request.method in READING or request.url.path.startswith(f"{PREFIX}/"):
            return self.role_of_cookie(request.cookies.get(COOKIE, ""))
        return None


def require(access: Access) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that lets only those in who may; ``request.state.role`` says what they may do."""

    async def check(request: Request) -> None:
        role = request.state.role = access.role_of(request)
        path = request.url.path
        if path in OPEN_PATHS or path.startswith(ASSETS):
            return
        if role is None and path.startswith(PREFIX) and "text/html" in request.headers.get("Accept", ""):
            asked = f"{path}?{request.url.query}" if request.url.query else path
            raise HTTPException(303, "say who you are", {"Location": f"{LOGIN}?next={quote(asked, safe='')}"})
        if role is None:
            raise HTTPException(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})
        if role is Role.READER and request.method not in READING:
            raise HTTPException(403, "this token is for reading only")

    return check


def may_act(request: Request) -> bool:
    """Say whether whoever sent a request may send commands."""
    return request.state.role is Role.OPERATOR
