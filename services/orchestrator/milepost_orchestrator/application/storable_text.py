"""Text and JSON as Postgres takes them: there is no NUL in its texts, and what is not finite is no JSON."""

import json
from collections.abc import Mapping
from typing import Any, overload

from milepost_contracts.model import ContractModel


@overload
def storable_text(value: str) -> str: ...
@overload
def storable_text(value: None) -> None: ...
@overload
def storable_text(value: str | None) -> str | None: ...
def storable_text(value: str | None) -> str | None:
    """Return the text with a replacement character for each NUL."""
    return value.replace("\x00", "\ufffd") if value is not None and "\x00" in value else value


def json_text(value: object) -> str:
    """Return JSON that Postgres takes: what is not finite becomes a word, NUL a replacement character."""
    if isinstance(value, ContractModel):
        value = value.model_dump(mode="json")
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = json.dumps(_storable(value))
    return json.dumps(_storable(value)) if "\\u0000" in text else text


def _storable(value: Any) -> Any:
    match value:
        case str():
            return storable_text(value)
        case float() if value != value:
            return "NaN"
        case float() if value in (float("inf"), float("-inf")):
            return "Infinity" if value > 0 else "-Infinity"
        case Mapping():
            return {_storable(key): _storable(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType] - JSON of any shape
        case list() | tuple():
            return [_storable(item) for item in value]  # pyright: ignore[reportUnknownVariableType] - JSON of any shape
        case _:
            return value
