"""The figures of many runs as one table: a row of numbers for each, and why some of them have no value."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np
from milepost_runtime.digests import canonical_json
from numpy.typing import NDArray

from milepost_backtester.engine.bars import Floats
from milepost_backtester.statistics.figures import Statistics

NAMES = tuple(field.name for field in fields(Statistics) if field.name != "undefined")
WHOLE = frozenset(field.name for field in fields(Statistics) if field.type is int)
"""Figures that are whole numbers."""
Places: TypeAlias = NDArray[np.int64]
Direction: TypeAlias = Literal["highest", "lowest"]
NONE_UNDEFINED = "{}"


@dataclass(frozen=True, slots=True)
class FigureRow:
    """The figures of one run; not a number where ``undefined`` has the reason."""

    values: Floats
    """In the order of ``NAMES``."""
    undefined: str
    """JSON: reasons by name."""


class FigureTable:
    """Rows that are only ever added, up to a number that is known from the start."""

    def __init__(self, rows_max: int) -> None:
        self._values: Floats = np.empty((rows_max, len(NAMES)))
        self._undefined: list[str] = []

    def __len__(self) -> int:
        return len(self._undefined)

    def append(self, row: FigureRow) -> None:
        """Add the next row."""
        self._values[len(self)] = row.values
        self._undefined.append(row.undefined)

    def extend(self, columns: Mapping[str, Any]) -> None:
        """Add rows from columns such as ``columns`` returns."""
        start, count = len(self), len(columns["undefined"])
        for place, name in enumerate(NAMES):
            self._values[start : start + count, place] = columns[name]
        self._undefined.extend(columns["undefined"])

    def clear(self) -> None:
        """Drop all rows."""
        self._undefined.clear()

    def columns(self, start: int, stop: int) -> dict[str, Any]:
        """Return a copy of some rows by column: a float for each figure, and ``undefined``."""
        part = self._values[start:stop]
        return {
            **{name: part[:, place].copy() for place, name in enumerate(NAMES)},
            "undefined": self._undefined[start:stop],
        }

    def figure(self, name: str, start: int, stop: int) -> Floats:
        """Return one figure of some rows; not a number where it is undefined."""
        return self._values[start:stop, NAMES.index(name)]

    def statistics(self, row: int) -> dict[str, Any]:
        """Return a row as plain values, None where undefined, with ``undefined`` as ``Statistics`` has it."""
        undefined: dict[str, str] = json.loads(self._undefined[row])
        values = zip(NAMES, self._values[row].tolist(), strict=True)
        return {
            **{
                name: None if name in undefined else int(value) if name in WHOLE else value
                for name, value in values
            },
            "undefined": undefined,
        }


def row_of(statistics: Statistics) -> FigureRow:
    """Return the figures as a row; whole numbers are exact up to 2**53."""
    found = (getattr(statistics, name) for name in NAMES)
    values = np.array([np.nan if value is None else value for value in found], dtype=np.float64)
    undefined = statistics.undefined
    return FigureRow(values, canonical_json(dict(undefined)).decode() if undefined else NONE_UNDEFINED)


def ranking(values: Floats, direction: Direction) -> Places:
    """Return the places of the values from the best to the worst; undefined ones last, equal ones in order."""
    keys = -values if direction == "highest" else values
    return np.argsort(keys, kind="stable")


def known(values: Iterable[float]) -> bool:
    """Say whether any of the values is defined."""
    return any(value == value for value in values)
