"""Faults that pydantic found, in words for people; who checks something needs no messages on the bus."""

from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from milepost_contracts.failures import Problem

_WORDS = {
    "extra_forbidden": "there is no such field",
    "missing": "must be given",
    "model_type": "give an object",
    "model_attributes_type": "give an object",
    "union_tag_not_found": "must have the field {discriminator}",
    "union_tag_invalid": "{tag} is none of {expected_tags}",
}
"""Where pydantic speaks of inputs and tags, which nobody at a terminal has heard of."""


def problems_of(error: ValidationError, prefix: str = "", document: object = None) -> tuple[Problem, ...]:
    """Return every fault that pydantic found, each with the dotted path of its field.

    pydantic puts the name of a union's branch into the path; with the ``document`` that was checked it stays out.
    """
    return tuple(
        Problem(
            field=".".join(str(part) for part in ((prefix,) if prefix else ()) + _path(fault, document)),
            message=_words(fault),
        )
        for fault in error.errors(include_url=False)
    )


def _words(fault: ErrorDetails) -> str:
    """Say it plainly; the braces are filled with what pydantic knows."""
    own = _WORDS.get(fault["type"])
    context = {name: str(value).replace("'", "") for name, value in fault.get("ctx", {}).items()}
    if context.get("discriminator", "").endswith("()"):  # of a function, whose name nobody outside knows
        return "has none of the forms that may stand here"
    if own is None:
        return fault["msg"].removeprefix("Value error, ")
    return own.format_map(context)


def _path(fault: ErrorDetails, document: object) -> tuple[int | str, ...]:
    """Keep the parts that the document has, and a last one that names a field which it lacks."""
    if not isinstance(document, dict):
        return fault["loc"]
    found = cast("Any", document)
    path: list[int | str] = []
    for number, part in enumerate(fault["loc"], start=1):
        if _has(found, part):
            path.append(part)
            found = found[part]
        elif number == len(fault["loc"]) and _is_field_of(found, fault):
            path.append(part)
    return tuple(path)


def _is_field_of(found: Any, fault: ErrorDetails) -> bool:
    """Tell an absent field from a branch: a branch was given all of it, a field its own value or its default."""
    return isinstance(found, dict) and (fault["type"] == "missing" or fault["input"] != found)


def _has(found: Any, part: int | str) -> bool:
    if isinstance(found, list | tuple):
        return isinstance(part, int) and part < len(cast("list[object]", found))
    return isinstance(found, dict) and part in found
