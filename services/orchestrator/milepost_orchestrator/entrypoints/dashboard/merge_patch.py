"""What has to be changed to make one JSON object of another (RFC 7396, JSON Merge Patch)."""

from typing import Any, cast


def merge_patch(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the smallest patch; what is not there any more is null in it."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old: Any = before.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            inner = merge_patch(cast("dict[str, Any]", old), cast("dict[str, Any]", value))
            patch |= {name: inner} if inner else {}
        elif name not in before or old != value or isinstance(old, bool) is not isinstance(value, bool):
            patch[name] = value
    return patch
