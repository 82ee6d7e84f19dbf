"""Who may come in."""

import secrets
from collections.abc import Awaitable, Callable

from fastapi import Request
from starlette.exceptions import HTTPException

OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""What a supervisor asks, without a token."""


def require(token: str | None) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that lets only those in who have the token."""

    async def check(request: Request) -> None:
        if token is None or request.url.path in OPEN_PATHS:
            return
        given = request.headers.get("Authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})

    return check
