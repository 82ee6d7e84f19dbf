"""Script, style and icon of the dashboard: each one file, named by its digest and kept by browsers for good.

The script is one file on purpose: htmx and its extension as two deferred files raced, and some pages never went
live. It is joined here, in the order below, so there is nothing to build and its parts stay readable in the wheel.
"""

import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from milepost_orchestrator.entrypoints.dashboard.navigation import ASSETS

SCRIPTS = (
    "vendor/htmx-2.0.11.min.js",
    "vendor/htmx-ext-sse-2.2.4.min.js",
    "vendor/idiomorph-ext-0.8.0.min.js",
    "vendor/uplot-1.6.32.min.js",
    "appearance.js",
    "times.js",
    "live.js",
    "dialogs.js",
    "menus.js",
    "selection.js",
    "views.js",
    "curves.js",
    "replay.js",
)
STYLES = ("vendor/uplot-1.6.32.min.css", "dashboard.css")
_DIRECTORY = files("milepost_orchestrator.entrypoints.dashboard") / "static"
_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is served."""

    name: str
    media_type: str
    content: bytes
    compressed: bytes

    @property
    def path(self) -> str:
        """Where it is: other content has another address."""
        return f"{ASSETS}{hashlib.sha256(self.content).hexdigest()[:16]}/{self.name}"


def load_assets() -> tuple[Asset, ...]:
    """Return everything that pages load."""
    return (
        _asset("dashboard.js", "text/javascript; charset=utf-8", SCRIPTS),
        _asset("dashboard.css", "text/css; charset=utf-8", STYLES),
        _asset("icon.svg", "image/svg+xml", ("icon.svg",)),
    )


def asset_routes(assets: Sequence[Asset]) -> APIRouter:
    """Return the routes of the files."""
    by_path = {asset.path: asset for asset in assets}
    router = APIRouter()

    async def answer(request: Request) -> Response:
        asset = by_path[request.url.path]
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers = {**_HEADERS, "Content-Encoding": "gzip"}
            return Response(asset.compressed, media_type=asset.media_type, headers=headers)
        return Response(asset.content, media_type=asset.media_type, headers=_HEADERS)

    for path in by_path:
        router.get(path, name=f"asset {path}")(answer)
    return router


def _asset(name: str, media_type: str, parts: Sequence[str]) -> Asset:
    content = b"\n".join((_DIRECTORY / part).read_bytes() for part in parts)
    return Asset(name, media_type, content, gzip.compress(content, mtime=0))
