"""What a running child produces on its way into the store and the log.

Progress: the newest counts, at most one event each ``progress_seconds``, the last one never dropped.
Checkpoints: uploaded in the order of saving, then put into the log as ``state-snapshot``, then the child is told.
Failures: store and bus outages are waited out here; being fenced ends everything.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from milepost_contracts.events import Progress, StateSnapshot
from milepost_contracts.ids import checkpoint_id_of

from milepost_runtime.checkpoints.service import CheckpointService
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.clock import Clock
from milepost_runtime.worker.messages import Advanced, Committed
from milepost_runtime.worker.patience import patiently
from milepost_runtime.worker.run_log import RunLog

STAGED_MAX = 16


class Publisher:
    """Publishes for one attempt; ``run`` as a task, ``drain`` before the terminal event."""

    def __init__(
        self,
        *,
        run_log: RunLog,
        service: CheckpointService,
        spool: Spool,
        clock: Clock,
        operation_id: str,
        attempt: int,
        progress_seconds: float,
        patience_seconds: float,
        committed: Callable[[Committed], Awaitable[None]],
    ) -> None:
        self._run_log = run_log
        self._service = service
        self._spool = spool
        self._clock = clock
        self._operation_id = operation_id
        self._attempt = attempt
        self._progress_seconds = progress_seconds
        self._patience_seconds = patience_seconds
        self._committed = committed
        self._staged: asyncio.Queue[str] = asyncio.Queue(maxsize=STAGED_MAX)
        self._progress: Advanced | None = None
        self._progress_changed = asyncio.Event()
        self._last_published: tuple[float, int] | None = None
        self._ordinal = 0
        self.total_units = 0
        self.unit = 0
        """Newest unit that the child reported."""
        self.checkpoint_id: str | None = None
        """Newest checkpoint of this attempt that is in the log."""
        self.checkpoint_unit: int | None = None

    async def run(self) -> None:
        """Publish until cancelled.

        Raises:
            FencedError: another attempt owns the operation.
            CheckpointDamagedError: the local disk did not keep a checkpoint. Later ones may refer to its
                artifacts, so the attempt cannot go on.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish_progress())
            tasks.create_task(self._publish_checkpoints())

    def advanced(self, message: Advanced) -> None:
        """Take over the child's newest progress."""
        self._progress = message
        self.unit = message.unit
        self._progress_changed.set()

    async def staged(self, directory: str) -> None:
        """Take over a checkpoint that lies in the spool; waits when too many are on their way."""
        await self._staged.put(directory)

    async def drain(self) -> None:
        """Return when every checkpoint is in the log, and the last progress too."""
        await self._staged.join()
        await self._flush_progress()

    async def _publish_progress(self) -> None:
        while True:
            await self._progress_changed.wait()
            await self._flush_progress()
            await asyncio.sleep(self._progress_seconds)  # the throttle

    async def _flush_progress(self) -> None:
        message, self._progress = self._progress, None
        self._progress_changed.clear()
        if message is None or message.unit < (self.checkpoint_unit or 0):
            return  # a checkpoint said more already: units shown to people never go back
        now = self._clock.monotonic_seconds()
        rate = None
        if self._last_published is not None and now > self._last_published[0]:
            rate = (message.unit - self._last_published[1]) / (now - self._last_published[0])
        self._last_published = (now, message.unit)
        await self._run_log.append(
            Progress(
                attempt=self._attempt,
                unit=message.unit,
                total_units=self.total_units,
                units_per_second=rate,
                metrics=message.metrics,
            )
        )

    async def _publish_checkpoints(self) -> None:
        while True:
            directory = await self._staged.get()
            await self._publish_checkpoint(Path(directory))
            self._staged.task_done()

    async def _publish_checkpoint(self, directory: Path) -> None:
        staged = await asyncio.to_thread(self._spool.load, directory)
        artifacts = await patiently(
            lambda: asyncio.to_thread(self._service.upload, staged),
            what="upload checkpoint",
            clock=self._clock,
            patience_seconds=self._patience_seconds,
        )
        self._ordinal += 1
        checkpoint_id = checkpoint_id_of(self._operation_id, self._attempt, self._ordinal)
        await self._run_log.append(
            StateSnapshot(
                attempt=self._attempt,
                checkpoint_id=checkpoint_id,
                unit=staged.unit,
                total_units=self.total_units,
                reason=staged.reason,
                artifacts=artifacts,
                fingerprint=dict(staged.fingerprint),
                summary=staged.summary,
            )
        )
        self.checkpoint_id, self.checkpoint_unit = checkpoint_id, staged.unit
        await asyncio.to_thread(self._spool.discard, directory)
        await self._committed(Committed(directory=str(directory), files=staged.files))
