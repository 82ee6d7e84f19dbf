"""Sparklines: read when due, kept for all who look."""

import math
from collections.abc import Mapping, Sequence

import pytest
from milepost_orchestrator.application.errors import DatabaseUnavailableError
from milepost_orchestrator.application.sparklines import (
    FIRST_TRIES,
    PAUSE_SECONDS,
    Seen,
    Sparklines,
    ascending,
)
from milepost_orchestrator.entrypoints.dashboard.sparkline_path import sparkline_path

from tests.support.bridge import ManualClock

pytestmark = pytest.mark.unit
POINTS = ((1, 4.0), (2, 2.0), (4, 3.0))


class Reader:
    """Answers with the same points for every operation but ``op-none``."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.is_away = False

    async def samples(
        self, operation_ids: Sequence[str], names: Sequence[str], *, points_max: int
    ) -> Mapping[str, tuple[str, Sequence[tuple[int, float]]]]:
        if self.is_away:
            raise DatabaseUnavailableError("away")
        self.asked.append(list(operation_ids))
        return {each: ("loss", POINTS) for each in operation_ids if each != "op-none"}


async def test_a_line_is_read_again_when_it_is_due_and_once_at_the_end() -> None:
    """Nothing new or too soon: not read; after the pause and at the end it is; an outage leaves it as it was."""
    reader, clock = Reader(), ManualClock()
    lines = Sparklines(reader, clock)
    await lines.refresh([Seen("op-1", "a", False), Seen("op-none", "a", False)])
    assert lines.kept("op-none") is None
    assert (line := lines.kept("op-1")) is not None
    assert (line.name, line.points) == ("loss", POINTS)
    await lines.refresh([Seen("op-1", "b", False)])
    clock.seconds += PAUSE_SECONDS
    await lines.refresh([Seen("op-1", "a", False)])
    assert reader.asked == [["op-1", "op-none"]]
    reader.is_away = True
    with pytest.raises(DatabaseUnavailableError):
        await lines.refresh([Seen("op-1", "b", False)])
    assert lines.kept("op-1") == line
    reader.is_away = False
    await lines.refresh([Seen("op-1", "b", False)])
    await lines.refresh([Seen("op-1", "c", True)])
    await lines.refresh([Seen("op-1", "c", True)])
    assert reader.asked[1:] == [["op-1"], ["op-1"]]


async def test_a_first_line_is_looked_for_at_once_but_not_for_ever() -> None:
    """What has no metrics yet is asked about again whenever anything happens to it, and soon only at times."""
    reader = Reader()
    lines = Sparklines(reader, ManualClock())
    for version in range(20):
        await lines.refresh([Seen("op-none", str(version), False)])
    assert len(reader.asked) == FIRST_TRIES


def test_a_later_attempt_counts_and_a_line_fits_its_place() -> None:
    """Points of a lost attempt go, what is not finite is left out, and no path has a number that is none."""
    told = ((1, 1.0), (2, 9.0), (3, 9.0), (2, 2.0), (3, math.nan), (4, math.inf), (5, 3.0))
    assert ascending(told) == ((1, 1.0), (2, 2.0), (5, 3.0))
    lines = {
        ((1, 4.0), (2, 2.0), (3, 3.0)): "M2 2L36 22L70 12",
        ((7, 7.0),): "M36 12h0",
        ((1, -1.7e308), (2, 1.7e308)): "M2 12L70 12",
    }
    assert {points: sparkline_path(points) for points in lines} == lines
