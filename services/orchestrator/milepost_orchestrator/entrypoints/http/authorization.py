"""Who comes in, and what they may do there.

Reading needs the role ``read``, everything else ``operate`` unless a route asks for more. A browser's session
counts for reading and for the dashboard's own pages; whatever else changes something wants the token itself, which
no other site's page can send. Where no token is asked for, only requests by a name of this machine come in: a page
of another site can let its own name point here.
"""

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request
from milepost_runtime.clock import Clock, random_id
from starlette.exceptions import HTTPException

from milepost_orchestrator.application.answers import Sender
from milepost_orchestrator.entrypoints.access import AccessTokens
from milepost_orchestrator.entrypoints.dashboard.navigation import ASSETS, LOGIN, LOGOUT, PREFIX
from milepost_orchestrator.entrypoints.http.parameters import IdempotencyKey
from milepost_orchestrator.entrypoints.roles import ANYONE, Person, Role

OPEN_PATHS = frozenset({"/livez", "/readyz", LOGIN, LOGOUT})
"""What a supervisor asks, and where a person says who they are, without a token."""
COOKIE = "milepost-session"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
SOURCE = "/http"


def authorization(tokens: AccessTokens, clock: Clock) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency of every route: it notes who asks, and refuses who may not."""

    async def check(request: Request) -> None:
        path = request.url.path
        if request.method not in READING:
            _refuse_other_sites(request)
        if path in OPEN_PATHS or path.startswith(ASSETS):
            request.state.person = None
            return
        person = _person(request, tokens, clock)
        request.state.person = person
        _refuse_below(person, Role.READ if request.method in READING else Role.OPERATE)

    return check


def needs(role: Role) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency of routes that need more than their method says."""

    async def check(request: Request) -> None:
        _refuse_below(person_of(request), role)

    return check


ADMINISTRATING = Depends(needs(Role.ADMIN))
"""For routes that change something for everyone."""


def person_of(request: Request) -> Person:
    """Return who asks."""
    return request.state.person


def may_act(request: Request) -> bool:
    """Say whether whoever asks may send commands."""
    return person_of(request).role >= Role.OPERATE


def may_administer(request: Request) -> bool:
    """Say whether whoever asks may do what changes something for everyone."""
    return person_of(request).role >= Role.ADMIN


async def _sender_of(request: Request, key: IdempotencyKey = None) -> Sender:
    return Sender(key or random_id("cmd"), person_of(request).source(SOURCE))


CommandSender = Annotated[Sender, Depends(_sender_of)]
"""Who a command is from, and its id: the header Idempotency-Key, else a new one."""


def _person(request: Request, tokens: AccessTokens, clock: Clock) -> Person:
    if not tokens.are_asked_for:
        _refuse_strange_names(request)
        return ANYONE
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    person = tokens.bearer(given) if scheme.lower() == "bearer" and given else None
    if person is None and (request.method in READING or request.url.path.startswith(PREFIX)):
        session = request.cookies.get(COOKIE)
        person = tokens.person_of_session(session, clock.now()) if session else None
    if person is None:
        raise _nobody(request)
    return person


def _nobody(request: Request) -> HTTPException:
    path, query = request.url.path, request.url.query
    if path.startswith(PREFIX) and "text/html" in request.headers.get("Accept", ""):
        asked = quote(f"{path}?{query}" if query else path, safe="")
        return HTTPException(303, "say who you are", {"Location": f"{LOGIN}?next={asked}"})
    return HTTPException(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})


def _refuse_below(person: Person, role: Role) -> None:
    if person.role < role:
        raise HTTPException(
            403, f"{person.name} may {person.role.word} only; this needs the role {role.word}"
        )


def _refuse_other_sites(request: Request) -> None:
    """A page of another site can have a browser send simple requests to any address that it reaches."""
    site = request.headers.get("Sec-Fetch-Site", "none")
    origin = request.headers.get("Origin")
    host = request.headers.get("Host", "")
    if site not in ("none", "same-origin") or (origin is not None and urlsplit(origin).netloc != host):
        raise HTTPException(403, "a page of another site cannot do this")


def _refuse_strange_names(request: Request) -> None:
    name = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    try:
        is_here = name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        is_here = False
    if not is_here:
        raise HTTPException(
            403, f"without a token only this machine's own names are answered, not {name!r}; set a token"
        )
