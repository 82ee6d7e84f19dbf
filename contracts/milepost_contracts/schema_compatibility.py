"""Is a change of the published schemas one that old messages and old programs survive?

``python -m milepost_contracts.schema_compatibility`` compares ``contracts/schemas`` with those of the last
release, in ``contracts/schemas/released``, and exits with 1 if something breaks; ``--release`` makes the
present ones the released ones. Every document that the old schema allows must be allowed by the new one; of
what we write and others read (events, verdicts, manifests) whatever readers rely on must stay, too.

Written for what pydantic generates. A keyword that it does not know counts as breaking when it changes: what
cannot be judged does not pass.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from milepost_contracts.schema_export import DIRECTORY
from milepost_contracts.upcasting import REGISTRY

Schema: TypeAlias = Mapping[str, Any]
RELEASED = DIRECTORY / "released"
SENT_TO_US = ("command.", "spec.", "task.", "kind.")
"""Beginnings of the names of what others write and we read; everything else others read, too."""
_WORDS = frozenset(
    {"title", "description", "examples", "$schema", "$id", "$defs", "deprecated", "discriminator"}
)
_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_EXACT = ("pattern", "format", "multipleOf", "uniqueItems", "contentEncoding", "propertyNames", "prefixItems")
_JUDGED = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "anyOf", "oneOf", "enum", "const"}
    | {"default", "patternProperties", *_LOWER_BOUNDS, *_UPPER_BOUNDS, *_EXACT}
)


@dataclass(frozen=True, slots=True)
class _Side:
    """A schema with the document that its references point into."""

    node: Schema
    root: Schema

    def at(self, node: Any) -> "_Side":
        """Return a part of the same document, its reference followed."""
        found: dict[str, Any] = dict(node) if isinstance(node, Mapping) else {}  # pyright: ignore[reportUnknownArgumentType] - JSON
        while "$ref" in found:
            target: Any = self.root
            for part in str(found.pop("$ref")).removeprefix("#/").split("/"):
                target = target[part]
            found = {**target, **found}
        return _Side(found, self.root)

    @property
    def variants(self) -> list["_Side"]:
        """The alternatives of a union; itself when it is none. An enumeration of types is a union as well."""
        for word in ("anyOf", "oneOf"):
            if word in self.node:
                rest = {
                    key: value for key, value in self.node.items() if key not in (word, "default", *_WORDS)
                }
                each = (inner for variant in self.node[word] for inner in self.at(variant).variants)
                return [_Side({**rest, **variant.node}, self.root) for variant in each]
        kinds = self.node.get("type")
        if isinstance(kinds, list):
            return [_Side({**self.node, "type": kind}, self.root) for kind in cast("list[str]", kinds)]
        return [self]


def breaking_changes(old: Schema, new: Schema, *, sent_to_us: bool) -> list[str]:
    """Return what breaks between two versions of a schema, each with its path; empty when nothing does."""
    return list(dict.fromkeys(_compare(_Side(old, old).at(old), _Side(new, new).at(new), "$", sent_to_us)))


def broken(released: Path = RELEASED, current: Path = DIRECTORY) -> list[str]:
    """Return every breaking change since the last release, in words."""
    found: list[str] = []
    for path in sorted(released.glob("*.json")):
        name, new = path.name, current / path.name
        if not new.exists():
            if not _is_upcast(name):
                found.append(f"{name}: is gone; what was written in it can no longer be read")
            continue
        old_schema, new_schema = (json.loads(each.read_text(encoding="utf-8")) for each in (path, new))
        changes = breaking_changes(old_schema, new_schema, sent_to_us=name.startswith(SENT_TO_US))
        found.extend(f"{name}: {change}" for change in changes)
    return found


def release(released: Path = RELEASED, current: Path = DIRECTORY) -> None:
    """Make the present schemas the released ones; old versions of events stay, as they are still read."""
    released.mkdir(exist_ok=True)
    for path in current.glob("*.json"):
        (released / path.name).write_bytes(path.read_bytes())


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare or release; return the exit code."""
    parser = argparse.ArgumentParser(description="Refuse changes of the schemas that break others.")
    parser.add_argument("--release", action="store_true", help="the present schemas become the released ones")
    if parser.parse_args(arguments).release:
        release()
        return 0
    found = broken()
    for change in found:
        sys.stderr.write(f"{change}\n")
    if found:
        sys.stderr.write(
            "make the change additive, or add a version of the event and an upcaster (docs/replay.md)\n"
        )
    return 1 if found else 0


def _is_upcast(name: str) -> bool:
    """Whether it is an old version of an event that is still converted on read."""
    kind, _, rest = name.removesuffix(".json").partition(".")
    return kind == "event" and REGISTRY.knows(f"milepost.operation.{rest}")


def _compare(old: _Side, new: _Side, path: str, sent_to_us: bool) -> Iterator[str]:
    unjudged = {key for key in old.node.keys() | new.node.keys() if key not in _JUDGED | _WORDS}
    for key in sorted(unjudged):
        if old.node.get(key) != new.node.get(key):
            yield f"{path}: {key} changed, which cannot be judged"
    if "default" in old.node and old.node.get("default") != new.node.get("default"):
        yield f"{path}: the default changed: what leaves it out would mean something else"
    olds, news = old.variants, new.variants
    if len(olds) == 1 and len(news) == 1:
        yield from _compare_one(olds[0], news[0], path, sent_to_us)
        return
    matched: set[int] = set()
    for variant in olds:
        best = min(
            ((list(_compare_one(variant, each, path, sent_to_us)), place) for place, each in enumerate(news)),
            key=lambda found: (len(found[0]), found[1]),
        )
        matched.add(best[1])
        yield from best[0]
    if not sent_to_us:
        for place, each in enumerate(news):
            if place not in matched and not any(
                not list(_compare_one(each, o, path, sent_to_us)) for o in olds
            ):
                yield f"{path}: may now be {_kind(each)}, which readers do not know"


def _compare_one(old: _Side, new: _Side, path: str, sent_to_us: bool) -> Iterator[str]:
    if _kind(old) != _kind(new):
        # Anything at all is wider than what it was, for those who only send.
        if not (sent_to_us and _kind(new) == "anything"):
            yield f"{path}: was {_kind(old)} and is {_kind(new)}"
        return
    yield from _compare_values(old.node, new.node, path)
    yield from _compare_bounds(old.node, new.node, path)
    if "properties" in old.node or "properties" in new.node or _kind(old) == "object":
        yield from _compare_object(old, new, path, sent_to_us)
    if "items" in old.node or "items" in new.node:
        yield from _compare(
            old.at(old.node.get("items", {})), new.at(new.node.get("items", {})), f"{path}[]", sent_to_us
        )


def _compare_values(old: Schema, new: Schema, path: str) -> Iterator[str]:
    allowed, now = _values(old), _values(new)
    if now is None:
        return
    if allowed is None:
        yield f"{path}: only {', '.join(map(str, now))} are allowed now"
        return
    gone = [value for value in allowed if value not in now]
    if gone:
        yield f"{path}: no longer allowed: {', '.join(map(str, gone))}"


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _compare_bounds(old: Schema, new: Schema, path: str) -> Iterator[str]:
    for key in _LOWER_BOUNDS:
        if key in new and (key not in old or new[key] > old[key]):
            yield f"{path}: {key} is {new[key]} and was {old.get(key, 'not there')}"
    for key in _UPPER_BOUNDS:
        if key in new and (key not in old or new[key] < old[key]):
            yield f"{path}: {key} is {new[key]} and was {old.get(key, 'not there')}"
    for key in _EXACT:
        if key in new and new[key] != old.get(key):
            yield f"{path}: {key} is {new[key]} and was {old.get(key, 'not there')}"


def _compare_object(old: _Side, new: _Side, path: str, sent_to_us: bool) -> Iterator[str]:
    olds: Schema = old.node.get("properties", {})
    news: Schema = new.node.get("properties", {})
    required, now_required = set(old.node.get("required", ())), set(new.node.get("required", ()))
    for name in olds:
        if name not in news:
            yield f"{path}.{name}: is gone"
        else:
            yield from _compare(old.at(olds[name]), new.at(news[name]), f"{path}.{name}", sent_to_us)
    patterns: Schema = old.node.get("patternProperties", {})
    now_patterns: Schema = new.node.get("patternProperties", {})
    for pattern in patterns.keys() ^ now_patterns.keys():
        yield f"{path}: fields like {pattern} are described otherwise"
    for pattern in patterns.keys() & now_patterns.keys():
        place = f"{path}.{pattern}"
        yield from _compare(old.at(patterns[pattern]), new.at(now_patterns[pattern]), place, sent_to_us)
    for name in sorted(now_required - required):
        yield f"{path}.{name}: must be given now"
    if not sent_to_us:
        for name in sorted((required - now_required) & set(news)):
            yield f"{path}.{name}: may be left out now, and readers rely on it"
    before, after = old.node.get("additionalProperties", True), new.node.get("additionalProperties", True)
    if after is False and before is not False:
        yield f"{path}: other fields are refused now"
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _compare(old.at(before), new.at(after), f"{path}.*", sent_to_us)
    elif isinstance(after, Mapping) and before is True and after:
        yield f"{path}: other fields must be of a type now"


def _kind(side: _Side) -> str:
    """Return the JSON type; of a value without one, the type of what it may be."""
    node = side.node
    if "type" in node:
        return str(node["type"])
    values = _values(node)
    if values:
        names = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
        return names.get(type(cast("object", values[0])).__name__, "anything")
    return "object" if "properties" in node else "anything"


if __name__ == "__main__":
    sys.exit(main())
