"""The gate over the schemas: what breaks others is refused, what only adds passes."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from milepost_contracts import schema_compatibility
from milepost_contracts.schema_compatibility import (
    RELEASED,
    SENT_TO_US,
    breaking_changes,
    broken,
    main,
    release,
)

pytestmark = pytest.mark.unit
SCHEMAS = {path.name: json.loads(path.read_text()) for path in sorted(RELEASED.glob("*.json"))}

VALUES = ("default", "examples", "const", "discriminator")
"""What is below these is no schema."""


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every part of a schema that describes an object with fields."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield schema
        for key, value in schema.items():
            yield from () if key in VALUES else objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object of a schema."""
    if isinstance(schema, dict):
        yield schema
        for key, value in schema.items():
            yield from () if key in VALUES else parts(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from parts(value)


def breaking_mutations(schema: dict[str, Any], *, sent_to_us: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every place of the schema changed in every way that breaks somebody."""
    for place, _ in enumerate(objects(schema)):
        for name in list(list(objects(schema))[place]["properties"]):
            yield f"removed {name}", _changed(schema, place, lambda o, name=name: _remove(o, name))
            yield f"retyped {name}", _changed(schema, place, lambda o, name=name: _retype(o, name))
            if name not in list(objects(schema))[place].get("required", []):
                yield f"required {name}", _changed(schema, place, lambda o, name=name: _require(o, name))
            elif not sent_to_us:
                yield (
                    f"optional {name}",
                    _changed(schema, place, lambda o, name=name: o["required"].remove(name)),
                )
        yield "new required field", _changed(schema, place, _add_required)
    for place, part in enumerate(parts(schema)):
        if len(part.get("enum", ())) > 1 and isinstance(part["enum"], list):
            yield "narrowed enum", _changed_part(schema, place, lambda p: p["enum"].pop())
        if isinstance(part.get("maxLength"), int):
            yield "shorter", _changed_part(schema, place, lambda p: p.update(maxLength=p["maxLength"] - 1))
        if isinstance(part.get("minimum"), int | float):
            yield "higher minimum", _changed_part(schema, place, lambda p: p.update(minimum=p["minimum"] + 1))
        if isinstance(part.get("pattern"), str):
            yield "other pattern", _changed_part(schema, place, lambda p: p.update(pattern="^x$"))


def additive_mutations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every place of the schema changed in every way that only adds."""
    for place, found in enumerate(objects(schema)):
        yield (
            "new optional field",
            _changed(
                schema, place, lambda o: o["properties"].update(new_field={"type": "string", "default": "x"})
            ),
        )
        for name in found["properties"]:
            if isinstance(found["properties"][name], dict):
                yield (
                    f"other words of {name}",
                    _changed(
                        schema,
                        place,
                        lambda o, name=name: o["properties"][name].update(description="other words"),
                    ),
                )
    for place, part in enumerate(parts(schema)):
        if isinstance(part.get("enum"), list) and part["enum"] and isinstance(part["enum"][0], str):
            yield "wider enum", _changed_part(schema, place, lambda p: p["enum"].append("one-more"))
        if isinstance(part.get("maxLength"), int):
            yield "longer", _changed_part(schema, place, lambda p: p.update(maxLength=p["maxLength"] + 1))
        if isinstance(part.get("minimum"), int | float):
            yield "lower minimum", _changed_part(schema, place, lambda p: p.update(minimum=p["minimum"] - 1))


def _changed(schema, place, change) -> dict[str, Any]:
    mutated = copy.deepcopy(schema)
    change(list(objects(mutated))[place])
    return mutated


def _changed_part(schema, place, change) -> dict[str, Any]:
    mutated = copy.deepcopy(schema)
    change(list(parts(mutated))[place])
    return mutated


def _remove(found, name) -> None:
    del found["properties"][name]
    if name in found.get("required", []):
        found["required"].remove(name)


def _retype(found, name) -> None:
    was = found["properties"][name]
    found["properties"][name] = (
        {"type": "array", "items": {"type": "null"}} if was != {} else {"type": "null"}
    )


def _require(found, name) -> None:
    found.setdefault("required", []).append(name)


def _add_required(found) -> None:
    found["properties"]["new_field"] = {"type": "string"}
    found.setdefault("required", []).append("new_field")


def test_every_schema_is_released() -> None:
    """Every schema that is published today is under the gate."""
    assert len(SCHEMAS) > 20
    assert broken() == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_breaking_changes_are_refused(name: str) -> None:
    """Removed, retyped, required, no longer certain, narrowed: each place of each schema."""
    sent_to_us = name.startswith(SENT_TO_US)
    mutations = list(breaking_mutations(SCHEMAS[name], sent_to_us=sent_to_us))
    passed = [
        words for words, new in mutations if not breaking_changes(SCHEMAS[name], new, sent_to_us=sent_to_us)
    ]
    assert mutations
    assert passed == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_additive_changes_pass(name: str) -> None:
    """A new optional field, other words, a wider enumeration or bound: each place of each schema."""
    sent_to_us = name.startswith(SENT_TO_US)
    refused = {
        words: found
        for words, new in additive_mutations(SCHEMAS[name])
        if (found := breaking_changes(SCHEMAS[name], new, sent_to_us=sent_to_us))
    }
    assert refused == {}


def test_same_schema_passes_in_another_order() -> None:
    """The order of fields and of a union's branches says nothing."""
    old = {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"a": {"const": 1}}}]}
    assert breaking_changes(old, {"anyOf": old["anyOf"][::-1]}, sent_to_us=True) == []


@pytest.mark.parametrize(
    ("old", "new", "sent_to_us", "breaks"),
    [
        ({"type": "integer"}, {"type": "number"}, False, True),
        ({"type": "string"}, {"anyOf": [{"type": "string"}, {"type": "null"}]}, True, False),
        ({"type": "string"}, {"anyOf": [{"type": "string"}, {"type": "null"}]}, False, True),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string"}, True, True),
        ({"type": "object"}, {"type": "object", "additionalProperties": False}, True, True),
        ({"type": "string"}, {"type": "string", "enum": ["a"]}, True, True),
        ({"type": "string", "default": "a"}, {"type": "string", "default": "b"}, True, True),
        ({"type": "string"}, {"type": "string", "not": {"const": "a"}}, True, True),
        (
            {"type": "array", "items": {"type": "string"}},
            {"type": "array", "items": {"type": "integer"}},
            True,
            True,
        ),
        ({"type": "array"}, {"type": "array", "maxItems": 3}, True, True),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"type": "object", "additionalProperties": {"type": "number"}},
            False,
            True,
        ),
    ],
)
def test_rules_one_by_one(old, new, sent_to_us: bool, breaks: bool) -> None:
    """Each rule on the smallest schema that shows it."""
    assert bool(breaking_changes(old, new, sent_to_us=sent_to_us)) is breaks


def test_gate_names_what_broke_and_lets_a_version_with_an_upcaster_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A removed version of an event is refused until an upcaster reads it; the command says what to do."""
    from milepost_contracts.upcasting import UpcasterRegistry

    released, current = tmp_path / "released", tmp_path / "current"
    current.mkdir()
    for name in ("event.claimed.v1.json", "command.cancel.v1.json"):
        (current / name).write_text(json.dumps(SCHEMAS[name]))
    release(released, current)
    (current / "event.claimed.v1.json").unlink()
    assert broken(released, current) == [
        "event.claimed.v1.json: is gone; what was written in it can no longer be read"
    ]
    registry = UpcasterRegistry()
    registry.register("milepost.operation.claimed.v1", "milepost.operation.claimed.v2", dict)
    monkeypatch.setattr(schema_compatibility, "REGISTRY", registry)
    assert broken(released, current) == []
    monkeypatch.setattr(schema_compatibility, "broken", lambda: ["x.json: $.a: is gone"])
    assert main([]) == 1
    said = capsys.readouterr().err
    assert "$.a: is gone" in said
    assert "upcaster" in said
