"""Keeps an operation this worker's, and hears when it should stop or save a checkpoint.

Every third of a lease: renew the work message, look whether another attempt has written (fencing), and read the
control events. A signal on the bus makes the last look happen at once; a lost signal costs one round.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from milepost_contracts.events import CancelRequested, CheckpointRequested, Side

from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.event_log import EventLog
from milepost_runtime.work_queue import WorkItem
from milepost_runtime.worker.run_log import RunLog

log = structlog.get_logger()


class Watch:
    """Renews the lease and watches for cancels, for one attempt."""

    def __init__(
        self,
        *,
        item: WorkItem,
        event_log: EventLog,
        run_log: RunLog,
        renewal_seconds: float,
        cancel: Callable[[CancelRequested], Awaitable[None]],
        save_now: Callable[[], Awaitable[None]],
        saved_sequence: int = 0,
    ) -> None:
        """``saved_sequence``: checkpoints that were asked for before it have been saved."""
        self._item = item
        self._event_log = event_log
        self._run_log = run_log
        self._renewal_seconds = renewal_seconds
        self._cancel = cancel
        self._save_now = save_now
        self._saved_sequence = saved_sequence
        self._woken = asyncio.Event()
        self._seen_sequence = 0

    async def wake(self) -> None:
        """Look at the control events now."""
        self._woken.set()

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            FencedError: another attempt owns the operation.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew())
            tasks.create_task(self._look())

    async def _renew(self) -> None:
        while True:
            await self._while_bus_answers(self._item.renew)
            await asyncio.sleep(self._renewal_seconds)

    async def _look(self) -> None:
        while True:
            self._woken.clear()
            await self._while_bus_answers(self._read_control)
            await self._while_bus_answers(self._run_log.check)
            try:
                async with asyncio.timeout(self._renewal_seconds):
                    await self._woken.wait()
            except TimeoutError:
                continue  # nobody called: look anyway, signals may be lost

    async def _read_control(self) -> None:
        for entry in await self._event_log.read_operation(self._run_log.operation_id, side=Side.CONTROL):
            if entry.sequence <= self._seen_sequence:
                continue
            if isinstance(entry.event, CancelRequested):
                await self._cancel(entry.event)
            elif isinstance(entry.event, CheckpointRequested) and entry.sequence > self._saved_sequence:
                await self._save_now()
            self._seen_sequence = entry.sequence

    async def _while_bus_answers(self, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except BusUnavailableError as error:
            # The run goes on computing; the next round tries again, and a lease that ran out meanwhile is
            # settled by fencing.
            log.warning("bus away", reason=str(error), operation_id=self._run_log.operation_id)
