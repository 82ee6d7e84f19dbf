"""Templates: every value is escaped, and a name that is not there is an error, not an empty place."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, cast

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from milepost_orchestrator.entrypoints.dashboard.assets import Asset
from milepost_orchestrator.entrypoints.dashboard.formatting import FILTERS, seconds_between, share
from milepost_orchestrator.entrypoints.dashboard.navigation import (
    OPERATION_VIEWS,
    PLACES,
    PREFIX,
    operation_path,
)
from milepost_orchestrator.entrypoints.http.authorization import COOKIE
from milepost_orchestrator.entrypoints.roles import Person

Theme = Literal["light", "dark", "system"]
THEME_COOKIE = "milepost-theme"


class Renderer:
    """Makes pages and parts of pages."""

    def __init__(self, assets: Sequence[Asset]) -> None:
        self._environment = _environment(tuple((asset.name, asset.path) for asset in assets))
        self._elements = cast("Any", self._environment.get_template("elements.html").module)

    def page(
        self, request: Request, template: str, context: Mapping[str, Any], *, status: int = 200
    ) -> HTMLResponse:
        """Return a whole page; ``place`` of the context says where one is."""
        person: Person | None = request.state.person
        shown = {
            **context,
            "theme": theme_of(request),
            "person": person,
            "is_signed_in": person is not None and person.name is not None and COOKIE in request.cookies,
        }
        text = self.text(template, shown)
        return HTMLResponse(text, status_code=status)

    def part(self, template: str, context: Mapping[str, Any]) -> bytes:
        """Return a part of a page that replaces the one with the same id; it is the same for everyone."""
        return self.text(template, {**context, "live": True}).encode()

    def text(self, template: str, context: Mapping[str, Any]) -> str:
        """Return what a template makes, by itself."""
        return self._environment.get_template(template).render(**context)

    def element(self, macro: str, *arguments: object, **options: object) -> str:
        """Return what a macro of ``elements.html`` makes, as it is on the pages."""
        return str(getattr(self._elements, macro)(*arguments, **options))


@cache
def _environment(asset_paths: tuple[tuple[str, str], ...]) -> Environment:
    """Return the templates; whoever asks again in one process finds them compiled."""
    environment = Environment(
        loader=PackageLoader("milepost_orchestrator.entrypoints.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(FILTERS)
    names: dict[str, Any] = {
        "assets": dict(asset_paths),
        "prefix": PREFIX,
        "places": PLACES,
        "operation_views": OPERATION_VIEWS,
        "operation_path": operation_path,
        "seconds_between": seconds_between,
        "share": share,
    }
    environment.globals.update(names)
    return environment


def theme_of(request: Request) -> Theme:
    """Return the theme that the reader has chosen; what else the cookie may hold is no theme."""
    match request.cookies.get(THEME_COOKIE):
        case "light":
            return "light"
        case "dark":
            return "dark"
        case _:
            return "system"
