"""Check JSON against a schema that a worker announced, and fill in its defaults."""

import re
from typing import cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from milepost_contracts.failures import Problem
from milepost_contracts.model import JsonObject
from pydantic import JsonValue
from referencing import Registry
from referencing.exceptions import Unresolvable

DEPTH_MAX = 32
"""Deeper documents keep what they have; no default is looked for down there."""


def problems_with(schema: JsonObject, document: JsonValue, prefix: str) -> tuple[Problem, ...]:
    """Return everything that is wrong with ``document``, each with its dotted path under ``prefix``."""
    # An empty registry: a schema that refers to an address is never fetched.
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        Draft202012Validator.check_schema(schema)
        faults = sorted(
            validator.iter_errors(document), key=lambda fault: [str(part) for part in fault.absolute_path]
        )
    except (SchemaError, Unresolvable, re.error, RecursionError) as error:
        words = getattr(error, "message", None) or str(error)
        return (Problem(field=prefix, message=f"the schema that the worker announced is wrong: {words}"),)
    return tuple(problem for fault in faults for problem in _problems(fault, prefix))


def with_defaults(schema: JsonObject, document: JsonObject) -> JsonObject:
    """Return ``document`` with the defaults of missing properties filled in, at every level that is there."""
    filled = _filled(schema, schema, document, DEPTH_MAX)
    return filled if isinstance(filled, dict) else document


def _problems(fault: ValidationError, prefix: str) -> list[Problem]:
    """Name the field itself where the library names the object that has or lacks it."""
    path = ".".join([prefix, *(str(part) for part in fault.absolute_path)])
    rule, schema = cast("str", fault.validator), cast("JsonObject", fault.schema)
    if rule == "additionalProperties" and "patternProperties" not in schema:
        known = cast("JsonObject", schema.get("properties", {}))
        unknown = [name for name in cast("JsonObject", fault.instance) if name not in known]
        return [Problem(field=f"{path}.{name}", message="there is no such field") for name in unknown]
    if rule == "required":
        names = cast("list[str]", fault.validator_value)
        lacking = [name for name in names if fault.message.startswith(f"{name!r} is")]
        return [Problem(field=f"{path}.{name}", message="must be given") for name in lacking]
    return [Problem(field=path, message=fault.message)]


def _filled(root: JsonObject, schema: JsonObject, value: JsonValue, depth: int) -> JsonValue:
    schema = _dereferenced(root, schema)
    properties = schema.get("properties")
    if depth == 0 or not isinstance(value, dict) or not isinstance(properties, dict):
        return value
    filled = dict(value)
    for name, property_schema in properties.items():
        if not isinstance(property_schema, dict):
            continue
        if name not in filled and "default" in property_schema:
            filled[name] = property_schema["default"]
        if name in filled:
            filled[name] = _filled(root, property_schema, filled[name], depth - 1)
    return filled


def _dereferenced(root: JsonObject, schema: JsonObject) -> JsonObject:
    """Follow a local reference, such as ``#/$defs/Model``; any other is left as it is."""
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return schema
    found: JsonValue = root
    for part in reference[2:].split("/"):
        if not isinstance(found, dict) or part not in found:
            return schema
        found = found[part]
    return cast("JsonObject", found) if isinstance(found, dict) else schema
