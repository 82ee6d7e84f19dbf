"""How much to compute between two reports, and how long to wait after one."""

from milepost_runtime.clock import Clock

REPORT_SECONDS = 0.025
"""Work between two reports: short enough for a quick cancel, long enough to cost nothing."""
UNITS_MAX = 100_000
GROWTH_MAX = 8
"""A chunk grows at most so much at once: one lucky measurement must not make a long one."""
BEHIND_MAX_SECONDS = 1.0
"""A run that fell further behind its pace than this does not hurry to catch up."""


class ChunkSize:
    """Units between reports, from what the last chunk took."""

    def __init__(
        self, clock: Clock, pace_units_per_second: float | None, report_seconds: float = REPORT_SECONDS
    ) -> None:
        self._clock = clock
        self._report_seconds = report_seconds
        self._units_max = UNITS_MAX
        if pace_units_per_second is not None:
            self._units_max = max(1, min(UNITS_MAX, int(pace_units_per_second * report_seconds)))
        self._began: tuple[int, float] | None = None
        self.units = 1
        """How many units to do before the next report."""

    def begin(self, unit: int) -> None:
        """The engine goes on from ``unit`` now."""
        self._began = (unit, self._clock.monotonic_seconds())

    def finish(self, unit: int) -> None:
        """The engine has done ``unit``; what it took decides the next chunk."""
        if self._began is None:
            return
        began_unit, began_seconds = self._began
        taken_seconds = self._clock.monotonic_seconds() - began_seconds
        grown = self.units * GROWTH_MAX
        fitting = (
            int((unit - began_unit) * self._report_seconds / taken_seconds) if taken_seconds > 0 else grown
        )
        self.units = max(1, min(fitting, grown, self._units_max))


class Pace:
    """A schedule of units at a given speed."""

    def __init__(self, clock: Clock, units_per_second: float, unit: int) -> None:
        self._clock = clock
        self._units_per_second = units_per_second
        self._base_unit = unit
        self._base_seconds = clock.monotonic_seconds()

    def delay_seconds(self, unit: int) -> float:
        """Return how long to wait after ``unit`` before going on; not positive when it is late already."""
        due_seconds = self._base_seconds + (unit - self._base_unit) / self._units_per_second
        delay = due_seconds - self._clock.monotonic_seconds()
        if delay < -BEHIND_MAX_SECONDS:
            self._base_unit, self._base_seconds = unit, self._clock.monotonic_seconds()
            return 0.0
        return delay
