"""Specs from the command line: a file, ``-``, inline JSON, and ``--set a.b=c`` on top."""

import json
import sys
from pathlib import Path
from typing import cast

from milepost_contracts.model import JsonObject
from pydantic import JsonValue

from milepost_cli.errors import UsageFaultError

SPEC_BYTES_MAX = 1024 * 1024


def read_spec(source: str | None, overrides: list[str]) -> JsonObject:
    """Return the spec that ``source`` holds with every override applied; no source is an empty spec.

    Raises:
        UsageFaultError: it cannot be read, is no JSON object, or an override has no place in it.
    """
    spec = _parse(*_text_of(source)) if source is not None else {}
    for override in overrides:
        apply_override(spec, override)
    return spec


def apply_override(spec: JsonObject, override: str) -> None:
    """Set one field: ``strategy.parameters.fast=5``. The value is JSON, or text when it is no JSON.

    Raises:
        UsageFaultError: it is not ``path=value``, or the path leads through something that has no fields.
    """
    path, equals, text = override.partition("=")
    parts = path.strip().split(".")
    if not equals or not all(parts):
        raise UsageFaultError(
            f"--set {override!r} is not PATH=VALUE", fix="write it as --set strategy.parameters.fast=5"
        )
    here: JsonValue = spec
    for depth, part in enumerate(parts[:-1]):
        here = _step(here, part, ".".join(parts[: depth + 1]), override)
    _assign(here, parts[-1], _value_of(text), override)


def _text_of(source: str) -> tuple[str, str]:
    if source == "-":
        return "standard input", sys.stdin.read(SPEC_BYTES_MAX + 1)
    if source.lstrip().startswith("{"):
        return "the inline spec", source
    path = Path(source)
    try:
        if path.stat().st_size > SPEC_BYTES_MAX:
            raise UsageFaultError(f"{source} is larger than 1 MiB", fix="name the file that holds the spec")
        return source, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageFaultError(
            f"the spec {source!r} cannot be read: {_short(error)}",
            fix="give a JSON file, - for standard input, or inline JSON; `milepost spec example KIND` prints one",
        ) from error


def _short(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"


def _parse(where: str, text: str) -> JsonObject:
    try:
        parsed = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        place = (
            f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        )
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise UsageFaultError(
            f"{where} is not JSON: {reason}{place}", fix="compare it with `milepost spec example KIND`"
        ) from error
    if not isinstance(parsed, dict):
        raise UsageFaultError(
            f"{where} holds {type(parsed).__name__}, not a JSON object",
            fix="compare it with `milepost spec example KIND`",
        )
    return cast("JsonObject", parsed)


def _value_of(text: str) -> JsonValue:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _step(here: JsonValue, part: str, path: str, override: str) -> JsonValue:
    if isinstance(here, dict):
        return here.setdefault(part, {})
    if isinstance(here, list) and part.isdecimal() and int(part) < len(here):
        return here[int(part)]
    raise _no_place(path, override)


def _assign(here: JsonValue, part: str, value: JsonValue, override: str) -> None:
    if isinstance(here, dict):
        here[part] = value
    elif isinstance(here, list) and part.isdecimal() and int(part) < len(here):
        here[int(part)] = value
    else:
        raise _no_place(override.partition("=")[0], override)


def _no_place(path: str, override: str) -> UsageFaultError:
    return UsageFaultError(
        f"--set {override!r}: there is no {path} to set",
        fix="look at the fields with `milepost spec schema KIND`",
    )
