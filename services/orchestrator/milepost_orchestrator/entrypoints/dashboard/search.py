"""The search of the list: ``kind:training status:failed nightly`` becomes the parameters of ``GET /operations``.

A word with a colon is a qualifier; several of the same kind mean any of them. Other words are part of the name.
Quotes keep words together: ``reason:"out of memory"``.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from milepost_contracts.failures import Problem
from pydantic import ValidationError

from milepost_orchestrator.entrypoints.http.operations_reading import OperationsQuery

SEVERAL = {"status": "status", "kind": "kind", "queue": "queue", "worker": "worker_id"}
SINGLE = {"id": "id_begins", "reason": "reason", "parent": "parent_id", "root": "root_id", "name": "name"}
AGES = {"newer": "age_seconds_max", "older": "age_seconds_min"}
QUALIFIERS = (*SEVERAL, *SINGLE, *AGES)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGE = re.compile(r"(\d{1,6})([smhdw])")
AGE_EXAMPLES = "write 30m, 12h, 7d or 2w"
SEARCH_CHARACTERS_MAX = 500


@dataclass(frozen=True, slots=True)
class Search:
    """What was typed, taken apart."""

    text: str
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Parameters of the list by name."""
    problems: tuple[Problem, ...] = ()
    """Everything that is wrong with it; nothing is searched for then."""

    def query(self, **more: Any) -> OperationsQuery:
        """Return the parameters of the list; there must be no problems."""
        return OperationsQuery.model_validate({**self.values, **more})


def parse_search(text: str) -> Search:
    """Take a search apart; never raises, what is wrong is said by qualifier."""
    words, problems = _words(text)
    values: dict[str, Any] = {}
    for word in words:
        key, colon, value = word.partition(":")
        if not colon:
            values["name"] = f"{values['name']} {word}" if "name" in values else word
        elif key in SEVERAL and value:
            values.setdefault(SEVERAL[key], []).append(value)
        elif key in SINGLE and value:
            values[SINGLE[key]] = value
        elif key in AGES:
            _add_age(values, problems, key, value)
        elif key in QUALIFIERS:
            problems.append(Problem(field=key, message="say what to look for after the colon"))
        else:
            known = ", ".join(f"{each}:" for each in QUALIFIERS)
            problems.append(Problem(field=key, message=f"is no qualifier; there are {known}"))
    if not problems:
        problems = _faults(values)
    return Search(text, values, tuple(problems))


def toggled(text: str, key: str, value: str) -> str:
    """Return the search with a qualifier added, or without it when it is there already."""
    words, _ = _words(text)
    wanted = f"{key}:{value}"
    kept = [word for word in words if word != wanted]
    return joined(kept if wanted in words else [*kept, wanted])


def without(text: str, key: str) -> str:
    """Return the search without any qualifier of that name."""
    words, _ = _words(text)
    return joined([word for word in words if not word.startswith(f"{key}:")])


def without_each(text: str) -> list[tuple[str, str]]:
    """Return each word of the search as it is typed, with the search that is left without it."""
    words, _ = _words(text)
    return [
        (joined([word]), joined([*words[:place], *words[place + 1 :]])) for place, word in enumerate(words)
    ]


def joined(words: Sequence[str]) -> str:
    """Return words as one types them, quoted where they have to be."""
    return " ".join(f'"{word}"' if re.search(r"\s", word) else word for word in words)


def seconds_of_age(text: str) -> int | None:
    """Return the seconds of an age such as ``12h``; None when it is none."""
    found = _AGE.fullmatch(text)
    return None if found is None else int(found[1]) * _SECONDS[found[2]]


def _words(text: str) -> tuple[list[str], list[Problem]]:
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
        lexer.whitespace_split, lexer.commenters, lexer.quotes, lexer.escape = True, "", '"', ""
        return list(lexer), []
    except ValueError:
        return text.replace('"', " ").split(), [Problem(field="search", message="a quote is not closed")]


def _add_age(values: dict[str, Any], problems: list[Problem], key: str, value: str) -> None:
    seconds = seconds_of_age(value)
    if seconds is None:
        problems.append(Problem(field=key, message=f"{value!r} is no age: {AGE_EXAMPLES}"))
        return
    values[AGES[key]] = seconds


def _faults(values: Mapping[str, Any]) -> list[Problem]:
    names = {parameter: key for key, parameter in (SEVERAL | SINGLE | AGES).items()}
    try:
        OperationsQuery.model_validate(values)
    except ValidationError as error:
        return [
            Problem(field=names.get(str(fault["loc"][0]), str(fault["loc"][0])), message=str(fault["msg"]))
            for fault in error.errors()
        ]
    return []
