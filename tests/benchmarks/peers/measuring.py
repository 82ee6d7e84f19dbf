"""Measuring one contender: what its saves cost the training, when they are safe, and how fast they load.

A course is: warm up with one save; then again and again some quiet steps, a save, some disturbed steps, and
waiting (not counted) until the save is durable. What a save costs is the time of the disturbed steps and of the
save itself, less as many quiet steps as the neighbours on both sides took on average.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from tests.benchmarks.peers.contender import Contender
from tests.benchmarks.peers.limits import forget
from tests.benchmarks.peers.workload import Size, bytes_of

WARM_UP_STEPS = 3
STEPS_BETWEEN_SAVES = 10
"""The costs in percent are for a training that saves this often."""


@dataclass(slots=True)
class Samples:
    """Seconds, one entry for each time it was measured."""

    stall: list[float] = field(default_factory=list[float])
    """``at_save`` and ``waited`` together."""
    at_save: list[float] = field(default_factory=list[float])
    """The call that saves."""
    waited: list[float] = field(default_factory=list[float])
    """In the steps after it, for its copies."""
    cost: list[float] = field(default_factory=list[float])
    quiet_step: list[float] = field(default_factory=list[float])
    durable: list[float] = field(default_factory=list[float])
    load_cold: list[float] = field(default_factory=list[float])
    load_warm: list[float] = field(default_factory=list[float])
    state_bytes: int = 0
    file_bytes: int = 0
    late: int = 0
    """Saves that were not durable yet when the disturbed steps ended: their cost is too low here."""

    def extend(self, more: "Samples") -> None:
        """Take in what another round measured."""
        for name in (
            "stall",
            "at_save",
            "waited",
            "cost",
            "quiet_step",
            "durable",
            "load_cold",
            "load_warm",
        ):
            getattr(self, name).extend(getattr(more, name))
        self.state_bytes, self.file_bytes = more.state_bytes, more.file_bytes
        self.late += more.late

    @property
    def cost_percent(self) -> float:
        """Of the training's time, when it saves every ``STEPS_BETWEEN_SAVES`` steps."""
        return 100 * median(self.cost) / (STEPS_BETWEEN_SAVES * median(self.quiet_step))


def percentile_95(values: list[float]) -> float:
    """Return the smallest value that at least 95 % of the values do not exceed."""
    return sorted(values)[ceil(0.95 * len(values)) - 1]


def measure_contender(contender: Contender, *, saves: int, loads: int, say: Callable[[str], None]) -> Samples:
    """Run one course with so many saves and loads.

    Raises:
        AssertionError: what was loaded is not what was saved.
    """
    found = Samples()
    _warm_up(contender)
    quiet_before = _steps(contender, contender.size.quiet)
    for number in range(saves):
        say(f"save {number + 1} of {saves}")
        quiet_before = _measure_save(contender, found, quiet_before)
    found.state_bytes = bytes_of(contender.tensors())
    contender.save()
    contender.wait_durable()
    found.file_bytes = sum(file.stat().st_size for file in _files(contender.newest()))
    for number in range(loads):
        say(f"load {number + 1} of {loads}")
        found.load_cold.append(_measure_load(contender, cold=True))
        found.load_warm.append(_measure_load(contender, cold=False))
    return found


def _warm_up(contender: Contender) -> None:
    _steps(contender, WARM_UP_STEPS)
    contender.save()
    _steps(contender, 1)
    contender.wait_durable()


def _measure_save(contender: Contender, found: Samples, quiet_before: list[float]) -> list[float]:
    """Save once; return the quiet steps after it, which are also those before the next one."""
    size: Size = contender.size
    older = contender.newest()
    began = time.perf_counter()
    stalled_seconds = contender.save()
    waited_seconds = 0.0
    for _ in range(size.during):
        waited_seconds += contender.step()
    ended = time.perf_counter()
    durable = contender.wait_durable()
    _remove(older)
    quiet_after = _steps(contender, size.quiet)
    quiet = [*quiet_before, *quiet_after]
    found.stall.append(stalled_seconds + waited_seconds)
    found.at_save.append(stalled_seconds)
    found.waited.append(waited_seconds)
    found.cost.append(ended - began - size.during * sum(quiet) / len(quiet))
    found.quiet_step.extend(quiet_after)
    found.durable.append(durable - began)
    found.late += durable > ended
    return quiet_after


def _measure_load(contender: Contender, *, cold: bool) -> float:
    load = contender.loading()
    if cold:
        forget(contender.newest())
    began = time.perf_counter()
    loaded = load()
    seconds = time.perf_counter() - began
    _check_equal(loaded, contender.tensors())
    return seconds


def _check_equal(loaded: dict[str, Tensor], saved: dict[str, Tensor]) -> None:
    assert loaded.keys() == saved.keys(), loaded.keys() ^ saved.keys()
    different = [name for name, value in saved.items() if not torch.equal(value, loaded[name])]
    assert not different, f"not what was saved: {different}"


def _steps(contender: Contender, count: int) -> list[float]:
    taken: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        contender.step()
        taken.append(time.perf_counter() - began)
    return taken


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _remove(path: Path) -> None:
    for file in _files(path):
        file.unlink()
    if path.is_dir():
        for directory in sorted(path.rglob("*"), reverse=True):
            directory.rmdir()
        path.rmdir()
