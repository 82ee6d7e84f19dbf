"""Metrics over units, few enough to draw: extremes and ends are kept, however many points there are.

A reader gets whole curves first and then only what came after: each answer says the sequence it reaches to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from milepost_orchestrator.application.documents import Document, json_number

POINTS_DEFAULT = 1000
POINTS_MAX = 10_000
KEPT_OF_BUCKET = 4
"""First, last, lowest and highest."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One value of one metric."""

    sequence: int
    attempt: int
    unit: int
    value: float


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of one operation, in the order in which it was reported."""

    name: str
    points: Sequence[CurvePoint]
    points_total: int
    """How many there are; more than ``points`` when they were thinned out."""


@dataclass(frozen=True, slots=True)
class CurvesWanted:
    """Which curves, and how many points at most of each."""

    operation_id: str
    names: tuple[str, ...] = ()
    """Empty for all."""
    points_max: int = POINTS_DEFAULT
    after_sequence: int | None = None
    """Only what came after; None for whole curves."""


class CurveReader(Protocol):
    """Reads curves; raises ``DatabaseUnavailableError`` when the read models are away."""

    async def whole_curves(self, wanted: CurvesWanted) -> Sequence[Curve]:
        """Return whole curves, thinned out where they have more points, all of one moment."""
        ...

    async def newer_points(self, wanted: CurvesWanted) -> tuple[Sequence[Curve], bool]:
        """Return the next ``points_max`` points of all curves together, and whether there may be more."""
        ...


class Curves:
    """Answers questions about metrics."""

    def __init__(self, reader: CurveReader) -> None:
        self._reader = reader

    async def read(self, wanted: CurvesWanted) -> Document:
        """Return curves as a document.

        Raises:
            DatabaseUnavailableError: the read models are away.
        """
        if wanted.after_sequence is None:
            curves, more = await self._reader.whole_curves(wanted), False
        else:
            curves, more = await self._reader.newer_points(wanted)
        sequences = [point.sequence for curve in curves for point in curve.points]
        return {
            "operation_id": wanted.operation_id,
            "series": [curve_document(curve) for curve in curves],
            "sequence": max(sequences, default=wanted.after_sequence or 0),
            "more": more,
        }


def curve_document(curve: Curve) -> Document:
    """Return a curve in columns: a third of the bytes that a list of points has."""
    return {
        "name": curve.name,
        "units": [point.unit for point in curve.points],
        "values": [json_number(point.value) for point in curve.points],
        "attempts": [point.attempt for point in curve.points],
        "points_total": curve.points_total,
    }
