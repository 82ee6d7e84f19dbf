"""How soon a cancelled backtest is durable, and what periodic checkpoints cost it; no bus, no store.

The job as a worker's child runs it: bridge, the child's own sink with its writing thread, the spool with its
fsyncs. A request comes at a random moment of a run; the time ends when the sink announces the checkpoint, which
then would survive a power cut. Cost: processor time of the whole process in pairs of runs, with a checkpoint
a second and without any. Run it alone: ``python -m tests.benchmarks.bench_backtest_stops``.
"""

import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from milepost_backtester.job import BacktestJob
from milepost_backtester.market_data import SCHEMA
from milepost_backtester.parquet import write_table
from milepost_backtester.segments import SegmentedLogs
from milepost_backtester.worker import BacktestKind
from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_runtime.bridge.cancellation import CancellationToken, StopRequest
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.clock import SystemClock
from milepost_runtime.digests import digest_of_file
from milepost_runtime.worker.child_sink import ChildSink
from milepost_runtime.worker.kind import JobContext
from milepost_runtime.worker.messages import Staged

from tests.benchmarks.bench_backtester import random_walk

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
    with tempfile.TemporaryDirectory(prefix="milepost-bench-", dir=directory) as name:
        place = Path(name)
        rows: list[Row] = []
        for bars in STOPPED_BARS:
            data = Data.write(place / "stopped.parquet", bars)
            for tier in TIERS:
                rows.extend(_stops(Workplace(place, data), tier, STOPS_QUICK if quick else STOPS))
        data = Data.write(place / "costly.parquet", COSTLY_BARS_QUICK if quick else COSTLY_BARS)
        for tier in TIERS:
            rows.extend(_cost(Workplace(place, data), tier))
        return rows


@dataclass(frozen=True, slots=True)
class Data:
    """A canonical file of bars."""

    path: Path
    digest: str

    @classmethod
    def write(cls, path: Path, count: int) -> "Data":
        """Write a random walk of so many bars."""
        bars = random_walk(count)
        write_table({name: getattr(bars, name) for name in SCHEMA.names}, SCHEMA, path)
        return cls(path, digest_of_file(path))


class Workplace:
    """Makes jobs and their sinks."""

    def __init__(self, directory: Path, data: Data) -> None:
        self._directory = directory
        self._data = data

    def job(self, tier: str, strategy: str, parameters: dict[str, Any]) -> BacktestJob:
        """Return a job that has done nothing yet."""
        spec = {
            "data": {"name": "walk", "digest": self._data.digest},
            "strategy": {"name": strategy, "parameters": parameters},
            "commission_rate": 0.001,
            "tier": tier,
        }
        inputs = {self._data.digest: self._data.path}
        return BacktestKind().create_job(JobContext("op-1", spec, inputs, self._directory))

    @contextmanager
    def sink(self, total_units: int, staged: Callable[[], None]) -> Iterator[ChildSink]:
        """Give a sink over a spool of its own; every checkpoint counts as committed once it is durable."""

        def send(message: object) -> None:
            if isinstance(message, Staged):
                staged()
                sink.committed(message.directory)

        with tempfile.TemporaryDirectory(dir=self._directory) as spool:
            sink = ChildSink(
                spool=Spool(Path(spool)),
                operation_id="op-1",
                send=send,
                save_now=threading.Event(),
                clock=SystemClock(),
                progress_seconds=0.25,
                total_units=total_units,
            )
            try:
                yield sink
            finally:
                sink.close()


def _host(
    job: BacktestJob, sink: ChildSink, token: CancellationToken, policy: CheckpointPolicySpec
) -> BridgeHost:
    return BridgeHost(sink, token, policy, SystemClock(), job.total_units)


def _stops(workplace: Workplace, tier: str, count: int) -> list[Row]:
    job = workplace.job(tier, "sma-cross", {"fast": 10, "slow": 30})
    first = job._engine.state_dict()
    generator = random.Random(1)
    whole = min(_whole_run_seconds(workplace, job, first) for _ in range(3))
    taken = [_stop(workplace, job, first, generator.uniform(0, 0.8 * whole)) for _ in range(count)]
    found = sorted(seconds for seconds in taken if seconds is not None)
    name = f"{tier} tier, {job.total_units:,} bars: request to durable cancellation"
    return [
        (f"{name}, median of {len(found)}", statistics.median(found) * 1e3, "ms"),
        (f"{name}, p99", float(np.quantile(found, 0.99)) * 1e3, "ms"),
    ]


def _whole_run_seconds(workplace: Workplace, job: BacktestJob, first: dict[str, Any]) -> float:
    job._engine.load_state_dict(first)
    with workplace.sink(job.total_units, lambda: None) as sink:
        began = time.perf_counter()
        job.run(_host(job, sink, CancellationToken(), NEVER))
        return time.perf_counter() - began


def _stop(workplace: Workplace, job: BacktestJob, first: dict[str, Any], after: float) -> float | None:
    """Return how long one cancellation took; None when the run was over before."""
    job._engine.load_state_dict(first)
    job._segments = SegmentedLogs(job._engine.closes)
    token, moments = CancellationToken(), []

    def ask() -> None:
        moments.append(time.perf_counter())
        token.request(StopRequest(CheckpointReason.CANCELLATION))

    with workplace.sink(job.total_units, lambda: moments.append(time.perf_counter())) as sink:
        timer = threading.Timer(after, ask)
        timer.start()
        finished = job.run(_host(job, sink, token, NEVER))
        timer.join()
    return None if finished else moments[1] - moments[0]


def _cost(workplace: Workplace, tier: str) -> list[Row]:
    strategy, parameters = COSTLY[tier]
    job = workplace.job(tier, strategy, parameters)
    first = job._engine.state_dict()
    shares: list[float] = []
    saved = [0]
    for pair in range(PAIRS):
        seconds = {}
        for policy in (NEVER, EVERY_SECOND) if pair % 2 else (EVERY_SECOND, NEVER):
            seconds[policy], staged = _run_seconds(workplace, job, first, policy)
            saved.append(staged)
        shares.append(seconds[EVERY_SECOND] / seconds[NEVER] - 1)
    name = f"{tier} tier, {strategy}, {job.total_units:,} bars: a checkpoint a second"
    return [
        (f"{name} costs, median of {PAIRS}", statistics.median(shares) * 100, "%"),
        (f"{name}, saved in a run", max(saved), ""),
    ]


def _run_seconds(
    workplace: Workplace, job: BacktestJob, first: dict[str, Any], policy: CheckpointPolicySpec
) -> tuple[float, int]:
    """Return the processor time of a run and how many checkpoints it saved."""
    job._engine.load_state_dict(first)
    job._segments = SegmentedLogs(job._engine.closes)
    staged: list[int] = []
    with workplace.sink(job.total_units, lambda: staged.append(1)) as sink:
        began = time.process_time()
        job.run(_host(job, sink, CancellationToken(), policy))
    # The sink is closed by now: what its thread wrote counts.
    return time.process_time() - began, len(staged)


def main() -> None:
    """Print the figures."""
    for name, value, unit in measure():
        print(f"{name:95} {value:10.2f} {unit}")


if __name__ == "__main__":
    main()
