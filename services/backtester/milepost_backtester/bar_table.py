"""Bars as they stand in a file, before anything is known to be right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
PRICES = ("open", "high", "low", "close")

SYNONYMS = {
    "date": "timestamp",
    "datetime": "timestamp",
    "time": "timestamp",
    "ts": "timestamp",
    "vol": "volume",
    "o": "open",
    "h": "high",
    "l": "low",
    "c": "close",
    "v": "volume",
}


@dataclass(frozen=True, slots=True)
class BarProblem:
    """One fault in a file of bars."""

    row: int | None
    """As a person counts in the file; None when it is about the whole file."""
    column: str
    """Canonical name; empty when it is about the whole row."""
    message: str

    def __str__(self) -> str:
        where = "" if self.row is None else f"row {self.row}"
        place = ", ".join(part for part in (where, self.column) if part)
        return f"{place}: {self.message}" if place else self.message


class BarProblemsError(ValueError):
    """The bars cannot be used; ``problems`` holds every fault."""

    def __init__(self, problems: Sequence[BarProblem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, eq=False)
class BarTable:
    """Columns by canonical name, as text or as whatever type the file has."""

    columns: Mapping[str, Sequence[Any] | NDArray[Any]]
    rows: NDArray[np.int64]
    """Number of each row in the file, as a person counts."""
    found: tuple[str, ...]
    """Column names as the file has them."""
    header_row: int | None
    """1 for CSV, None where a file has no header row."""
    problems: tuple[BarProblem, ...] = ()
    """Faults that showed while reading."""

    def __len__(self) -> int:
        return len(self.rows)


def match_columns(found: Sequence[str], row: int | None) -> tuple[dict[str, int], list[BarProblem]]:
    """Return the place of each canonical column, and what is ambiguous."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(found):
        plain = name.strip().lower()
        canonical = SYNONYMS.get(plain, plain)
        if canonical in COLUMNS:
            places.setdefault(canonical, []).append(place)
    problems = [
        BarProblem(row, name, f"several columns could be it: {', '.join(found[place] for place in where)}")
        for name, where in places.items()
        if len(where) > 1
    ]
    return {name: where[0] for name, where in places.items()}, problems
