"""What a checkpoint costs: the stall of computing next to a memory copy, the spool next to a plain write.

Run it alone: ``python -m tests.benchmarks.bench_checkpoint``. Figures are medians.
"""

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from milepost_contracts.checkpoints import CheckpointPolicySpec, CheckpointReason
from milepost_runtime.bridge.cancellation import CancellationToken
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.bridge.progress_bridge import ProgressBridge
from milepost_runtime.checkpoints.data import CheckpointData, FileWriter
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.clock import SystemClock
from milepost_runtime.worker.child_sink import ChildSink

Row = tuple[str, float, str]

MIB = 1024 * 1024
SIZES_MIB = (1, 13, 128)
REPEATS = 9
WAIT_SECONDS = 60.0


class BytesWriter(FileWriter):
    """Writes bytes that are in memory."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def write(self, path: Path) -> None:
        path.write_bytes(self._content)


class BytesBridge(ProgressBridge[bytes]):
    """The state is a lump of bytes."""

    def build_checkpoint_data(self, unit: int, state: bytes) -> CheckpointData:
        return CheckpointData(unit=unit, state={"unit": unit}, files={"state.bin": BytesWriter(state)})


class Computing:
    """A computing thread with the real sink beside it; the host's part is played by ``_hear``."""

    def __init__(self, directory: Path, policy: CheckpointPolicySpec) -> None:
        self.written = threading.Event()
        self._spool = Spool(directory)
        self.sink = ChildSink(
            spool=self._spool,
            operation_id="op-bench",
            send=self._hear,
            save_now=threading.Event(),
            clock=SystemClock(),
            progress_seconds=0.25,
        )
        self.bridge = BytesBridge(
            BridgeHost(
                sink=self.sink,
                token=CancellationToken(),
                policy=policy,
                clock=SystemClock(),
                total_units=10**9,
            )
        )
        self.bridge.start(0, b"")

    def _hear(self, message: object) -> None:
        directory = getattr(message, "directory", None)
        if directory is not None:
            self.sink.committed(directory)
            self._spool.discard(Path(directory))
            self.written.set()


def stall_rows(size_mib: int) -> list[Row]:
    """Seconds that the computing thread stands still for one checkpoint, next to copying the bytes."""
    state = bytearray(os.urandom(size_mib * MIB))
    copying = median_seconds(lambda: bytes(state))
    with tempfile.TemporaryDirectory() as directory:
        computing = Computing(Path(directory), CheckpointPolicySpec(every_units=1, min_seconds=0))
        stalls, handovers = [], []
        for unit in range(1, REPEATS + 1):
            computing.written.clear()
            began = time.perf_counter()
            copy = bytes(state)
            copied = time.perf_counter()
            computing.bridge.update_state(unit, copy)
            ended = time.perf_counter()
            stalls.append(ended - began)
            handovers.append(ended - copied)
            if not computing.written.wait(WAIT_SECONDS):
                raise TimeoutError("the spool was not written")
        computing.sink.close()
    return [
        (f"checkpoint of {size_mib} MiB: copy of the bytes alone", copying * 1e3, "ms"),
        (
            f"checkpoint of {size_mib} MiB: stall of the computing thread",
            statistics.median(stalls) * 1e3,
            "ms",
        ),
        (
            f"checkpoint of {size_mib} MiB: of that, handing over",
            statistics.median(handovers) * 1e3,
            "ms",
        ),
    ]


def spool_rows(size_mib: int) -> list[Row]:
    """Seconds to make a checkpoint durable in the spool, next to writing and fsyncing one file."""
    content = os.urandom(size_mib * MIB)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        spool = Spool(directory)

        def plain() -> None:
            with (directory / "plain").open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            (directory / "plain").unlink()

        def staged() -> None:
            data = CheckpointData(unit=1, state={"unit": 1}, files={"state.bin": BytesWriter(content)})
            spool.discard(
                spool.stage("op-bench", "000001", data, reason=CheckpointReason.PERIODIC, total_units=10)
            )

        return [
            (f"spool of {size_mib} MiB: plain write and fsync", median_seconds(plain) * 1e3, "ms"),
            (f"spool of {size_mib} MiB: staged, with digests", median_seconds(staged) * 1e3, "ms"),
        ]


def boundary_rows() -> list[Row]:
    """Microseconds that a unit boundary costs when nothing is saved."""
    with tempfile.TemporaryDirectory() as directory:
        computing = Computing(Path(directory), CheckpointPolicySpec(every_seconds=3600))
        boundaries = 50_000
        began = time.perf_counter()
        for unit in range(1, boundaries + 1):
            computing.bridge.next_boundary(unit - 1)
            computing.bridge.update_state(unit, b"")
        seconds = time.perf_counter() - began
        computing.sink.close()
    return [("unit boundary with nothing to save", seconds / boundaries * 1e6, "us")]


def median_seconds(action: Callable[[], object]) -> float:
    """Return the median time of an action."""
    taken: list[float] = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def measure() -> list[Row]:
    """Return every figure of this benchmark."""
    found = boundary_rows()
    for size_mib in SIZES_MIB:
        found += stall_rows(size_mib) + spool_rows(size_mib)
    return found


def main() -> None:
    """Print the figures."""
    for name, value, unit in measure():
        print(f"{name:<60} {value:>10.3f} {unit}")


if __name__ == "__main__":
    main()
