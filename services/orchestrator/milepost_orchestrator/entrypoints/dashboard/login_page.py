"""Where a person says who they are: the token is given once, and the browser keeps a cookie made from it."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from milepost_runtime.clock import Clock

from milepost_orchestrator.entrypoints.access import SESSION_DURATION, AccessTokens
from milepost_orchestrator.entrypoints.dashboard.actions import form_of
from milepost_orchestrator.entrypoints.dashboard.navigation import LOGIN, LOGOUT, PREFIX
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer
from milepost_orchestrator.entrypoints.http.authorization import COOKIE


def login_page(access: AccessTokens, clock: Clock, renderer: Renderer) -> APIRouter:
    """Return the routes of coming in and going out."""
    router = APIRouter()

    @router.get(LOGIN)
    async def ask(request: Request, next: str = PREFIX) -> Response:  # pyright: ignore[reportUnusedFunction] - the parameter's name
        context = {"place": "login", "next": own_path(next), "is_wrong": False}
        return renderer.page(request, "login.html", context)

    @router.post(LOGIN)
    async def come_in(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        fields = await form_of(request)
        path = own_path(fields.get("next", PREFIX))
        person = access.bearer(fields.get("token", "").strip())
        session = None if person is None else access.session(person, clock.now())
        if session is None:
            context = {"place": "login", "next": path, "is_wrong": True}
            return renderer.page(request, "login.html", context, status=401)
        answer = RedirectResponse(path, status_code=303)
        answer.set_cookie(
            COOKIE,
            session,
            max_age=int(SESSION_DURATION.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @router.post(LOGOUT)
    async def go(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        answer = RedirectResponse(LOGIN, status_code=303)
        answer.delete_cookie(COOKIE)
        return answer

    return router


def own_path(path: str) -> str:
    """Return a path of the dashboard; anything else is the first page."""
    is_own = path == PREFIX or path.startswith((f"{PREFIX}/", f"{PREFIX}?"))
    return path if is_own and "\\" not in path else PREFIX
