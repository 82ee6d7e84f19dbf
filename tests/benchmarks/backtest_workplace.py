"""Backtests as a worker's child runs them: bridge, sink and spool, without bus and store, a reader beside."""

import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost_backtester.job import BacktestJob
from milepost_backtester.market_data import SCHEMA
from milepost_backtester.parquet import write_table
from milepost_backtester.segments import SegmentedLogs
from milepost_backtester.worker import BacktestKind
from milepost_contracts.checkpoints import CheckpointPolicySpec
from milepost_runtime.bridge.cancellation import CancellationToken
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.clock import SystemClock
from milepost_runtime.digests import digest_of_file
from milepost_runtime.worker.child_sink import ChildSink
from milepost_runtime.worker.kind import JobContext
from milepost_runtime.worker.messages import Staged

from tests.benchmarks.bench_backtester import random_walk


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
        self.directory = directory
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
        return BacktestKind().create_job(JobContext("op-1", spec, inputs, self.directory))

    @contextmanager
    def sink(
        self, total_units: int, staged: Callable[[], None], reader: "Reader | None" = None
    ) -> Iterator[ChildSink]:
        """Give a sink over a spool of its own; a checkpoint counts as committed once its host has read it."""
        host = reader or Reader()

        def send(message: object) -> None:
            if isinstance(message, Staged):
                staged()
                host.staged.put(Path(message.directory))

        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            spool = Spool(Path(directory))
            sink = ChildSink(
                spool=spool,
                operation_id="op-1",
                send=send,
                save_now=threading.Event(),
                clock=SystemClock(),
                progress_seconds=0.25,
                total_units=total_units,
            )
            commits = threading.Thread(target=host.commit, args=(spool, sink))
            commits.start()
            try:
                yield sink
            finally:
                sink.close()
                host.staged.put(None)
                commits.join()


class ComputingClock(SystemClock):
    """Tells the processor time of the thread that asks: on a core of its own the same as any other clock."""

    def monotonic_seconds(self) -> float:
        """Seconds that this thread has computed."""
        return time.thread_time()


class Reader:
    """The worker's host in a thread of its own: reads what is staged, as before an upload, and says so."""

    def __init__(self) -> None:
        self.staged: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self.seconds = 0.0
        """Processor time that the host would spend in its own process."""
        self.read_bytes = 0

    def commit(self, spool: Spool, sink: ChildSink) -> None:
        """Commit until told to stop."""
        while (directory := self.staged.get()) is not None:
            files = spool.load(directory).files
            self.read_bytes += sum(file.size_bytes for file in files)
            sink.committed(str(directory), files)
        self.seconds = time.thread_time()


def host_of(
    job: BacktestJob, sink: ChildSink, token: CancellationToken, policy: CheckpointPolicySpec
) -> BridgeHost:
    """Return what a job runs in."""
    return BridgeHost(sink, token, policy, SystemClock(), job.total_units)


def rewind(job: BacktestJob, first: dict[str, Any]) -> None:
    """Have a job begin again."""
    job._engine.load_state_dict(first)
    job._segments = SegmentedLogs(job._engine.closes, borrows=job._engine.borrows)
