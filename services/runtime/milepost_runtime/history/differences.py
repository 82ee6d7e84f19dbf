"""What differs between two JSON documents, field by field."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast


class _Absent:
    """Stands for a field that is not there; None is a value."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs."""

    path: str
    """Keys and places, joined by dots."""
    before: Any
    """Its value, or ``ABSENT``."""
    after: Any

    def document(self) -> dict[str, Any]:
        """Return the JSON form; what is absent is left out."""
        values = {"before": self.before, "after": self.after}
        return {"path": self.path, **{name: value for name, value in values.items() if value is not ABSENT}}


def differences(before: Any, after: Any, path: str = "") -> Iterator[Difference]:
    """Yield every leaf that differs, in the order of the documents; two lists are compared place by place.

    An object or list that is new or gone counts leaf by leaf too, unless it is empty.
    """
    if before is after:
        return
    before, after = _alike(before, after), _alike(after, before)
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
        for key in dict.fromkeys((*old, *new)):
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), _join(path, key))
    elif isinstance(before, list) and isinstance(after, list):
        first, second = cast("list[Any]", before), cast("list[Any]", after)
        for place in range(max(len(first), len(second))):
            old_item = first[place] if place < len(first) else ABSENT
            new_item = second[place] if place < len(second) else ABSENT
            yield from differences(old_item, new_item, _join(path, str(place)))
    elif not _equal(before, after):
        yield Difference(path, before, after)


def _alike(value: Any, other: Any) -> Any:
    """What is absent counts as empty where the other side has something in it."""
    if value is ABSENT and other and isinstance(other, dict | list):
        return cast("Any", type(other))()  # pyright: ignore[reportUnknownArgumentType] - JSON of any shape
    return value


def _equal(before: Any, after: Any) -> bool:
    """JSON's equality: 1 and 1.0 are one number, True and 1 are not one value, NaN is itself."""
    if isinstance(before, bool) != isinstance(after, bool):
        return False
    return bool(before == after) or (before != before and after != after)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
