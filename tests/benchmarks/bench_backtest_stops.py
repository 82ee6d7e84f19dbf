"""How soon a cancelled backtest is durable, and what periodic checkpoints cost it; no bus, no store.

The job as a worker's child runs it: bridge, the child's own sink with its writing thread, the spool with its
fsyncs. A request is due at a random moment of a run; the time ends when the sink announces the checkpoint, which
then would survive a power cut. It begins when the request is due, not when Python lets its thread run. Beside each
stop stands what the disk itself takes at that moment: one new file of 4 KiB, written and fsynced.

Cost, counted in the run itself: processor time of building checkpoints in the computing thread, and of every
thread but that one, against what is left. A second is one of the computing thread's own, so that other processes
on the machine change nothing. Beside it pairs of whole runs with and without, whose noise is several percent.
Run it alone: ``python -m tests.benchmarks.bench_backtest_stops``, or a part of it with ``stops 200`` or ``costs``.
"""

import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from milepost_backtester.bridge import BacktestingProgressBridge
from milepost_backtester.job import BacktestJob
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_runtime.bridge.cancellation import CancellationToken, StopRequest
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.checkpoints import spool as spool_module
from milepost_runtime.worker.child import SWITCH_SECONDS

from tests.benchmarks.backtest_workplace import ComputingClock, Data, Reader, Workplace, host_of, rewind

Row = tuple[str, float, str]

TIERS = ("compiled", "python")
STOPPED_BARS = (200_000, 1_000_000)
STOPS, STOPS_QUICK = 200, 40
COSTLY = {"python": ("sma-cross", {"fast": 10, "slow": 30}), "compiled": ("bollinger", {"window": 400})}
"""Busy for many seconds: a compiled cross of averages is done before its first checkpoint is due."""
COSTLY_BARS, COSTLY_BARS_QUICK = 8_000_000, 4_000_000
PAIRS = 3
NEVER = CheckpointPolicySpec()
EVERY_SECOND = CheckpointPolicySpec(every_seconds=1.0)


def measure(directory: Path | None = None, *, quick: bool = False) -> list[Row]:
    """Return seconds to a durable cancellation, and the cost of checkpoints as a share."""
    with tempfile.TemporaryDirectory(prefix="milepost-bench-", dir=directory) as name, _as_a_child():
        place = Path(name)
        rows = measure_stops(place, STOPS_QUICK if quick else STOPS)
        return [*rows, *measure_costs(place, COSTLY_BARS_QUICK if quick else COSTLY_BARS)]


def measure_stops(place: Path, count: int) -> list[Row]:
    """Return how soon so many cancellations of each run are durable, and what the time went into."""
    rows: list[Row] = []
    for bars in STOPPED_BARS:
        data = Data.write(place / "stopped.parquet", bars)
        for tier in TIERS:
            rows.extend(_stops(Workplace(place, data), tier, count))
    return rows


def measure_costs(place: Path, bars: int) -> list[Row]:
    """Return what a checkpoint a second costs runs over so many bars."""
    data = Data.write(place / "costly.parquet", bars)
    return [row for tier in TIERS for row in _cost(Workplace(place, data), tier)]


@contextmanager
def _as_a_child() -> Iterator[None]:
    """Have threads take turns as in a worker's child."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _stops(workplace: Workplace, tier: str, count: int) -> list[Row]:
    job = workplace.job(tier, "sma-cross", {"fast": 10, "slow": 30})
    first = job._engine.state_dict()
    generator = random.Random(1)
    whole = min(_whole_run_seconds(workplace, job, first) for _ in range(3))
    taken = [_stop(workplace, job, first, generator.uniform(0, 0.8 * whole)) for _ in range(count)]
    found = [stop for stop in taken if stop is not None]
    name = f"{tier} tier, {job.total_units:,} bars: request to durable cancellation"
    shares = ((0.5, f"median of {len(found)}"), (0.9, "p90"), (0.99, "p99"))
    quantiles = {
        part: [float(np.quantile([getattr(stop, part) for stop in found], share)) for share, _ in shares]
        for part in PARTS
    }
    rows = [
        (f"{name}{PARTS[part]}, {words}", value * 1e3, "ms")
        for part, values in quantiles.items()
        for value, (_, words) in zip(values, shares, strict=True)
    ]
    ratio = quantiles["seconds"][-1] / quantiles["disk_seconds"][-1]
    return [*rows, (f"{name}, its p99 in the disk's own p99", ratio, "")]


def _whole_run_seconds(workplace: Workplace, job: BacktestJob, first: dict[str, Any]) -> float:
    rewind(job, first)
    with workplace.sink(job.total_units, lambda: None) as sink:
        began = time.perf_counter()
        job.run(host_of(job, sink, CancellationToken(), NEVER))
        return time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Stop:
    """One cancellation."""

    seconds: float
    """From the moment that it was due to the moment that it is durable."""
    noticed_seconds: float
    """Of that: until the computing thread has come to a boundary and takes the state."""
    fsync_seconds: float
    """Of that: waiting for the disk."""
    writing_seconds: float
    """Processor time of the writing thread, which has written this checkpoint only."""
    disk_seconds: float
    """What one new file of 4 KiB took to be written and fsynced right after it."""


PARTS = {
    "seconds": "",
    "noticed_seconds": ": until the boundary",
    "fsync_seconds": ": waiting for fsyncs",
    "writing_seconds": ": processor time of the writing thread",
    "disk_seconds": ": one fsync of 4 KiB beside it",
}


def _stop(workplace: Workplace, job: BacktestJob, first: dict[str, Any], after: float) -> Stop | None:
    """Return how long one cancellation took; None when the run was over before."""
    rewind(job, first)
    token = CancellationToken()
    durable: list[tuple[float, float]] = []
    timer = threading.Timer(after, lambda: token.request(StopRequest(CheckpointReason.CANCELLATION)))

    def staged() -> None:
        durable.append((time.perf_counter() - due, time.thread_time()))

    with _watched() as watch, workplace.sink(job.total_units, staged) as sink:
        due = time.perf_counter() + after
        timer.start()
        finished = job.run(host_of(job, sink, token, NEVER))
        timer.join()
    if finished:
        return None
    seconds, writing_seconds = durable[0]
    disk_seconds = _disk_seconds(workplace.directory)
    return Stop(seconds, watch.save_began - due, watch.fsync_seconds, writing_seconds, disk_seconds)


class _Watch:
    """When the state was taken, and how long the disk was waited for."""

    def __init__(self) -> None:
        self.save_began = 0.0
        self.fsync_seconds = 0.0


@contextmanager
def _watched() -> Iterator[_Watch]:
    watch = _Watch()
    save = BacktestingProgressBridge._save

    def noted(*arguments: Any, **options: Any) -> None:
        watch.save_began = time.perf_counter()
        save(*arguments, **options)

    def timed(fsync: Callable[..., None]) -> Callable[..., None]:
        def waited(*arguments: Any) -> None:
            began = time.perf_counter()
            fsync(*arguments)
            watch.fsync_seconds += time.perf_counter() - began

        return waited

    with (
        patch.object(BacktestingProgressBridge, "_save", noted),
        patch.object(spool_module, "fsync_together", timed(spool_module.fsync_together)),
        patch.object(spool_module, "fsync_directory", timed(spool_module.fsync_directory)),
    ):
        yield watch


def _disk_seconds(directory: Path) -> float:
    path = directory / "probe"
    began = time.perf_counter()
    with path.open("xb") as file:
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    path.unlink()
    return seconds


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor time of one run."""

    computing_seconds: float
    """Of everything but checkpoints."""
    checkpoint_seconds: float
    """Of building and writing them."""
    saved: int
    written_bytes: int

    @property
    def share(self) -> float:
        """What checkpoints add."""
        return self.checkpoint_seconds / self.computing_seconds


def _cost(workplace: Workplace, tier: str) -> list[Row]:
    strategy, parameters = COSTLY[tier]
    job = workplace.job(tier, strategy, parameters)
    first = job._engine.state_dict()
    pairs: list[float] = []
    counted: list[Cost] = []
    for pair in range(PAIRS):
        found: dict[CheckpointPolicySpec, Cost] = {}
        for policy in (NEVER, EVERY_SECOND) if pair % 2 else (EVERY_SECOND, NEVER):
            found[policy] = _run_cost(workplace, job, first, policy)
        counted.append(found[EVERY_SECOND])
        whole = {policy: cost.computing_seconds + cost.checkpoint_seconds for policy, cost in found.items()}
        pairs.append(whole[EVERY_SECOND] / whole[NEVER] - 1)
    name = f"{tier} tier, {strategy}, {job.total_units:,} bars: a checkpoint a second"
    median = sorted(counted, key=lambda cost: cost.share)[len(counted) // 2]
    return [
        (f"{name} costs, counted in the run, median of {PAIRS}", median.share * 100, "%"),
        (f"{name}, the highest of {PAIRS}", max(cost.share for cost in counted) * 100, "%"),
        (f"{name}, processor time of one", median.checkpoint_seconds / max(1, median.saved) * 1e3, "ms"),
        (f"{name}, written by one", median.written_bytes / max(1, median.saved) / 1e6, "MB"),
        (f"{name}, saved in a run", median.saved, ""),
        (f"{name}, bars a second of computing", job.total_units / median.computing_seconds / 1e6, "M bars/s"),
        (f"{name}, by pairs of runs, median of {PAIRS}", statistics.median(pairs) * 100, "%"),
    ]


def _run_cost(
    workplace: Workplace, job: BacktestJob, first: dict[str, Any], policy: CheckpointPolicySpec
) -> Cost:
    """Run to the end and count; what the sink's threads write after the last bar counts too."""
    rewind(job, first)
    reader, staged, building = Reader(), [0], [0.0]
    save = BacktestingProgressBridge._save

    def timed_save(*arguments: Any, **options: Any) -> None:
        began = time.thread_time()
        save(*arguments, **options)
        building[0] += time.thread_time() - began

    def count() -> None:
        staged[0] += 1

    whole, own = time.process_time(), time.thread_time()
    with (
        patch.object(BacktestingProgressBridge, "_save", timed_save),
        workplace.sink(job.total_units, count, reader) as sink,
    ):
        job.run(BridgeHost(sink, CancellationToken(), policy, ComputingClock(), job.total_units))
        own = time.thread_time() - own
    others = time.process_time() - whole - own - reader.seconds
    return Cost(own - building[0], others + building[0], staged[0], reader.read_bytes)


def main() -> None:
    """Print the figures; ``stops N``: only those of so many cancellations of each run; ``costs``: the others."""
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as name, _as_a_child():
        match sys.argv[1:]:
            case ["stops", count]:
                rows = measure_stops(Path(name), int(count))
            case ["costs"]:
                rows = measure_costs(Path(name), COSTLY_BARS)
            case _:
                rows = measure()
    for name, value, unit in rows:
        print(f"{name:95} {value:10.2f} {unit}")


if __name__ == "__main__":
    main()
