"""The child's side of checkpointing: a background thread writes the spool, the computing thread goes on.

States of a checkpoint: handed over -> staged in the spool -> committed (the host says that it is in the log).
Authority: the computing thread decides what is saved; this thread writes in the order of handing over.
Failures: when the spool cannot be written, the next call from the computing thread raises that error.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.checkpoints import CheckpointReason

from milepost_runtime.checkpoints.data import CheckpointData, FileWriter, SaveData
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.clock import Clock
from milepost_runtime.worker.messages import Advanced, Staged

PENDING_MAX = 4
"""Periodic checkpoints are left out while one is under way, so only the urgent ones can queue up."""


@dataclass(frozen=True, slots=True)
class _Save:
    data: SaveData
    reason: CheckpointReason
    ordinal: int


class ChildSink:
    """Implements ``CheckpointSink`` over the pipe and the spool."""

    def __init__(
        self,
        *,
        spool: Spool,
        operation_id: str,
        send: Callable[[object], None],
        save_now: threading.Event,
        clock: Clock,
        progress_seconds: float,
        total_units: int = 0,
    ) -> None:
        self._spool = spool
        self._operation_id = operation_id
        self._send = send
        self._save_now = save_now
        self._clock = clock
        self._progress_seconds = progress_seconds
        self._progress_sent = float("-inf")
        self._queue: queue.SimpleQueue[_Save | None] = queue.SimpleQueue()
        self._pending = 0
        """Handed over, and not taken up by the writer yet."""
        self._uncommitted: set[int | str] = set()
        self._staged: dict[str, Mapping[str, FileWriter]] = {}
        """The files of checkpoints that are in the spool and not known to be committed, by directory."""
        self._lock = threading.Lock()
        self._taken_up = threading.Condition(self._lock)
        self._error: Exception | None = None
        self._ordinal = 0
        self.total_units = total_units
        self.unit = 0
        """Newest unit reported or saved."""
        self._writer = threading.Thread(target=self._write, name="writer", daemon=True)
        self._writer.start()

    def progress(self, unit: int, metrics: Mapping[str, float]) -> None:
        """Report units done; left out when the last report is too fresh."""
        self._raise_error()
        self.unit = unit
        now = self._clock.monotonic_seconds()
        if now - self._progress_sent >= self._progress_seconds or unit >= self.total_units > 0:
            self._progress_sent = now
            # Validation would take longer than all else here, and the host does it.
            figures = {name: float(value) for name, value in metrics.items()}
            self._send(Advanced.model_construct(unit=unit, metrics=figures))

    def save(self, data: SaveData, reason: CheckpointReason) -> None:
        """Hand over a checkpoint; blocks only when ``PENDING_MAX`` are waiting already."""
        self._raise_error()
        self.unit = data.unit
        self._ordinal += 1
        with self._lock:
            while self._pending >= PENDING_MAX:
                self._taken_up.wait()
            self._pending += 1
            self._uncommitted.add(self._ordinal)
        self._queue.put(_Save(data, reason, self._ordinal))

    def busy(self) -> bool:
        """Say whether a checkpoint is still on its way into the log."""
        with self._lock:
            return bool(self._uncommitted)

    def manual_requested(self) -> bool:
        """Say whether someone asked for a checkpoint now, once for each request."""
        if self._save_now.is_set():
            self._save_now.clear()
            return True
        return False

    def committed(self, directory: str, files: Iterable[ArtifactReference] = ()) -> None:
        """The host has put the checkpoint of that directory into the log, and these files of it into the store."""
        with self._lock:
            writers = self._staged.pop(directory, {})
        for reference in files:
            if reference.name in writers:
                writers[reference.name].stored(reference)
        with self._lock:
            self._uncommitted.discard(directory)

    def close(self) -> None:
        """Wait until everything handed over is in the spool and announced."""
        self._queue.put(None)
        self._writer.join()
        self._raise_error()

    def _write(self) -> None:
        while (save := self._queue.get()) is not None:
            with self._lock:
                self._pending -= 1
                self._taken_up.notify_all()
            try:
                data = save.data.complete()
                directory = self._spool.stage(
                    self._operation_id,
                    f"{save.ordinal:06d}",
                    data,
                    reason=save.reason,
                    total_units=self.total_units,
                )
            # The computing thread raises it at its next call: a full disk must end the operation loudly.
            except Exception as error:  # noqa: BLE001
                self._error = error
                continue
            self._announce(save.ordinal, data, directory)

    def _announce(self, ordinal: int, data: CheckpointData, directory: Path) -> None:
        with self._lock:
            self._staged[str(directory)] = data.files
            self._uncommitted.discard(ordinal)
            self._uncommitted.add(str(directory))
        self._send(Staged(directory=str(directory)))

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
