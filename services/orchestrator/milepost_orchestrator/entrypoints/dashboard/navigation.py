"""Where one can go: the pages that are always in sight, and the views of one operation."""

from dataclasses import dataclass

PREFIX = "/ui"
SYSTEM = f"{PREFIX}/system"
LOGIN = f"{PREFIX}/login"
LOGOUT = f"{PREFIX}/logout"
ASSETS = f"{PREFIX}/assets/"
"""Script and style: the same for everybody, and nothing in them is anybody's."""


@dataclass(frozen=True, slots=True)
class Place:
    """One link of a navigation."""

    name: str
    """Which page is open is told by it: ``place`` of the template's context."""
    title: str
    path: str


PLACES = (
    Place("operations", "Operations", f"{PREFIX}/operations"),
    Place("fleet", "Fleet", f"{PREFIX}/fleet"),
    Place("system", "System", SYSTEM),
)
OPERATION_VIEWS = (
    Place("overview", "Overview", ""),
    Place("events", "Events", "/events"),
    Place("lineage", "Lineage", "/lineage"),
    Place("replay", "Replay", "/replay"),
)
"""Paths are those after the operation's own."""


def operation_path(operation_id: str, view: str = "") -> str:
    """Return where an operation is shown."""
    return f"{PREFIX}/operations/{operation_id}{view}"
