"""How fast checkpoints are written that nobody waits for: the training should not notice them."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from milepost_runtime.clock import Clock

WRITE_VARIABLE = "MILEPOST_TRAINER_WRITE_MB_PER_SECOND"


@dataclass(frozen=True, slots=True)
class WriteSettings:
    """Of one worker.

    Raises:
        ValueError: the figure is none to write with.
    """

    megabytes_per_second: float = 300.0
    """The most that is written while the training goes on; a run that ends writes as fast as it can."""

    def __post_init__(self) -> None:
        if not 1 <= self.megabytes_per_second <= 1e6:
            raise ValueError(
                f"{WRITE_VARIABLE} is {self.megabytes_per_second:g}; give 1 to 1000000: at less a checkpoint "
                "of a large model would never be done before the next one"
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read ``MILEPOST_TRAINER_WRITE_MB_PER_SECOND``."""
        text = environment.get(WRITE_VARIABLE)
        if text is None:
            return cls()
        try:
            return cls(float(text))
        except ValueError as error:
            raise ValueError(f"{WRITE_VARIABLE}: {error}") from error


class WritePace:
    """Keeps writing to a speed until somebody is in a hurry; used by one thread at a time."""

    def __init__(self, clock: Clock, settings: WriteSettings) -> None:
        self._clock = clock
        self._bytes_per_second = settings.megabytes_per_second * 1e6
        self._hurry = threading.Event()
        self._due_seconds = float("-inf")

    def hurry(self) -> None:
        """Write at full speed from now on, also what is being written already."""
        self._hurry.set()

    def __call__(self, size_bytes: int) -> None:
        """Wait until so many bytes may be written."""
        now_seconds = self._clock.monotonic_seconds()
        begins_seconds = max(now_seconds, self._due_seconds)
        self._due_seconds = begins_seconds + size_bytes / self._bytes_per_second
        if begins_seconds > now_seconds:
            self._hurry.wait(begins_seconds - now_seconds)
