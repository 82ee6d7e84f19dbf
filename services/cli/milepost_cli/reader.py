"""Reading JSON that a server sent: tolerant of what is missing, never of a wrong type."""

from collections.abc import Mapping
from datetime import datetime
from typing import cast


def text(document: Mapping[str, object], key: str) -> str | None:
    """Return the text under ``key``, None when there is none."""
    value = document.get(key)
    return value if isinstance(value, str) else None


def whole(document: Mapping[str, object], key: str) -> int | None:
    """Return the integer under ``key``, None when there is none."""
    value = document.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(document: Mapping[str, object], key: str) -> float | None:
    """Return the number under ``key``, None when there is none."""
    value = document.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def moment(document: Mapping[str, object], key: str) -> datetime | None:
    """Return the time under ``key``, None when there is none or it has no zone."""
    value = text(document, key)
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def mapping(document: Mapping[str, object], key: str) -> dict[str, object]:
    """Return the object under ``key``, empty when there is none."""
    value = document.get(key)
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def objects(document: Mapping[str, object], key: str) -> list[dict[str, object]]:
    """Return the objects in the list under ``key``."""
    value = document.get(key)
    if not isinstance(value, list):
        return []
    items = cast("list[object]", value)
    return [cast("dict[str, object]", item) for item in items if isinstance(item, dict)]


def texts(document: Mapping[str, object], key: str) -> list[str]:
    """Return the texts in the list under ``key``."""
    value = document.get(key)
    return (
        [item for item in cast("list[object]", value) if isinstance(item, str)]
        if isinstance(value, list)
        else []
    )
