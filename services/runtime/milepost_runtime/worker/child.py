"""The computing child: one operation, no asyncio, no bus, no store.

Three threads. *Main* computes: it builds the job and runs it. *Reader* listens to the host and sets the token;
when the host is gone it ends the process, and where main holds the interpreter in native code the parent-death
signal does (Linux). *Writer* turns checkpoint data into spool directories. Nothing here survives the
process except what lies complete in the spool.
"""

import argparse
import ctypes
import faulthandler
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from milepost_runtime.bridge.cancellation import CancellationToken, StopRequest
from milepost_runtime.bridge.host import BridgeHost
from milepost_runtime.checkpoints.data import LoadedCheckpoint
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.clock import SystemClock
from milepost_runtime.fingerprints import accepted_differences
from milepost_runtime.worker.child_sink import ChildSink
from milepost_runtime.worker.failure import InvalidInputError, describe_failure
from milepost_runtime.worker.kind import Job, JobContext, WorkerKind
from milepost_runtime.worker.kinds import load_kind
from milepost_runtime.worker.messages import (
    TO_CHILD,
    Begun,
    Committed,
    Finished,
    Raised,
    Ready,
    Run,
    SaveNow,
    Stop,
    Stopped,
    encode_line,
)

PR_SET_PDEATHSIG = 1
SWITCH_SECONDS = 0.001
"""How long a job in pure Python may keep a stop from being heard; Python's own 5 ms are half of a whole stop."""


def main() -> None:
    """Serve one operation on the socket whose descriptor the host passed."""
    parser = argparse.ArgumentParser(prog="milepost-child")
    parser.add_argument("--kind", required=True)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--host-pid", type=int, required=True)
    arguments = parser.parse_args()
    die_with(arguments.host_pid)
    serve(arguments.kind, arguments.fd)


def serve(kind_name: str, descriptor: int) -> None:
    """Warm up for a kind, and serve one operation of it on a socket."""
    sys.setswitchinterval(SWITCH_SECONDS)
    faulthandler.enable()  # a native crash leaves its Python stack on stderr
    kind = load_kind(kind_name)
    kind.warm_up()
    with socket.socket(fileno=descriptor) as connection:
        Child(kind, connection).serve()


class Child:
    """The conversation with the host, around one job."""

    def __init__(self, kind: WorkerKind, connection: socket.socket) -> None:
        self._kind = kind
        self._connection = connection
        self._token = CancellationToken()
        self._send_lock = threading.Lock()
        self._run_received = threading.Event()
        self._run: Run | None = None
        self._sink: ChildSink | None = None
        self._save_now = threading.Event()

    def serve(self) -> None:
        """Wait for the operation, compute it, say how it ended."""
        threading.Thread(target=self._listen, name="reader", daemon=True).start()
        self._send(Ready(kind=self._kind.describe()))
        self._run_received.wait()
        run = self._run
        if run is None:
            return
        sink = ChildSink(
            spool=Spool(Path(run.spool_directory)),
            operation_id=run.operation_id,
            send=self._send,
            save_now=self._save_now,
            clock=SystemClock(),
            progress_seconds=run.progress_seconds,
        )
        self._sink = sink
        self._send(_after_checkpoints(self._compute(run, sink), sink))

    def _compute(self, run: Run, sink: ChildSink) -> Finished | Stopped | Raised:
        try:
            return self._run_job(run, sink)
        # The job is a team's code: whatever it raises ends the operation, not the worker, and is reported.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            return Raised(unit=sink.unit, failure=describe_failure(error))

    def _run_job(self, run: Run, sink: ChildSink) -> Finished | Stopped:
        job = self._build(run)
        self._restore(job, run, sink)
        finished = job.run(
            BridgeHost(
                sink=sink,
                token=self._token,
                policy=run.policy,
                clock=SystemClock(),
                total_units=job.total_units,
                pace_units_per_second=run.pace_units_per_second,
            )
        )
        if not finished:
            request = self._token.requested
            if request is None:
                raise RuntimeError("the job stopped although nobody asked it to; `run` must return True")
            return Stopped(unit=sink.unit, reason=request.reason, words=request.words)
        results = Path(run.results_directory)
        outcome = job.write_results(results)
        return Finished(unit=job.total_units, files=dict(outcome.files), summary=outcome.summary)

    def _build(self, run: Run) -> Job:
        context = JobContext(
            operation_id=run.operation_id,
            spec=run.spec,
            inputs={name: Path(path) for name, path in run.inputs.items()},
            scratch_directory=Path(run.scratch_directory),
            cache_directory=None if run.cache_directory is None else Path(run.cache_directory),
        )
        try:
            return self._kind.create_job(context)
        except ValueError as error:
            raise InvalidInputError(str(error)) from error

    def _restore(self, job: Job, run: Run, sink: ChildSink) -> None:
        checkpoint = run.checkpoint
        differences: tuple[str, ...] = ()
        if checkpoint is not None:
            differences = accepted_differences(
                checkpoint.fingerprint,
                job.fingerprint,
                accept_environment=run.accept_environment,
                changed_entries=checkpoint.changed_entries,
            )
            if checkpoint.unit > job.total_units:  # a fork made it shorter than what it goes on from
                raise InvalidInputError(
                    f"the checkpoint is of {job.unit_name} {checkpoint.unit}, beyond the last one "
                    f"({job.total_units}); fork from an earlier checkpoint"
                )
            job.restore_from_checkpoint(
                LoadedCheckpoint(
                    unit=checkpoint.unit,
                    directory=Path(checkpoint.directory),
                    artifacts=checkpoint.artifacts,
                    fingerprint=checkpoint.fingerprint,
                    checksums=checkpoint.checksums,
                )
            )
        sink.unit = checkpoint.unit if checkpoint else 0
        sink.total_units = job.total_units
        self._send(
            Begun(
                unit=sink.unit,
                total_units=job.total_units,
                unit_name=job.unit_name,
                fingerprint=dict(job.fingerprint),
                environment_differences=differences,
            )
        )

    def _listen(self) -> None:
        """Read the host's messages; its end is ours."""
        with self._connection.makefile("rb") as lines:
            for line in lines:
                self._hear(line)
        # Nothing may be written for an owner that is gone; exit handlers could wait on threads.
        os._exit(os.EX_UNAVAILABLE)

    def _hear(self, line: bytes) -> None:
        message = TO_CHILD.validate_json(line)
        match message:
            case Run():
                if message.stop is not None:
                    self._stop(message.stop)
                self._run = message
                self._run_received.set()
            case Stop():
                self._stop(message)
            case SaveNow():
                self._save_now.set()
            case Committed():
                if self._sink is not None:
                    self._sink.committed(message.directory, message.files)

    def _stop(self, stop: Stop) -> None:
        self._token.request(StopRequest(reason=stop.reason, at_unit=stop.at_unit, words=stop.words))

    def _send(self, message: object) -> None:
        with self._send_lock:
            self._connection.sendall(encode_line(message))  # pyright: ignore[reportArgumentType]


def _after_checkpoints(
    last_word: Finished | Stopped | Raised, sink: ChildSink
) -> Finished | Stopped | Raised:
    """Wait until every checkpoint is announced; a stop whose checkpoint the disk refused is a failure."""
    try:
        sink.close()
    except Exception as error:  # noqa: BLE001 - told to the host, which would know of a dead child only
        # A job that failed may have failed by the same error; its own is the first one.
        if not isinstance(last_word, Raised):
            return Raised(unit=sink.unit, failure=describe_failure(error))
    return last_word


def die_with(parent_pid: int) -> None:
    """Ask the kernel to end this process when its parent ends; elsewhere the closed socket must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the request took effect
        os._exit(os.EX_UNAVAILABLE)


if __name__ == "__main__":
    main()
