"""The writer of one attempt's run events, fenced by the expected sequence.

States: claimed (writes are accepted) -> fenced (another attempt claimed: every write is refused). Authority: the
sequence of the last own event; nobody else may write run events of the operation meanwhile. Failures: an
outage is waited out, repeating with the same event id; a lost answer is recognised by that id; a conflict with a
foreign event is ``FencedError``, after which nothing is ever written again.
"""

import asyncio
from collections.abc import Awaitable, Callable

from milepost_contracts.events import Claimed, RunEvent, Side
from milepost_contracts.ids import event_id_of
from milepost_contracts.messages import envelop_event

from milepost_runtime.clock import Clock
from milepost_runtime.errors import SequenceConflictError
from milepost_runtime.event_log import EventLog
from milepost_runtime.worker.patience import patiently


class FencedError(Exception):
    """Another attempt owns the operation now; this one must stop and write nothing more."""


class RunLog:
    """Appends the run events of one attempt, one at a time."""

    def __init__(
        self,
        event_log: EventLog,
        clock: Clock,
        *,
        operation_id: str,
        root_id: str,
        worker_id: str,
        instance_id: str,
        last_sequence: int,
        patience_seconds: float,
    ) -> None:
        self._event_log = event_log
        self._clock = clock
        self._operation_id = operation_id
        self._root_id = root_id
        self._worker_id = worker_id
        self._instance_id = instance_id
        self._sequence = last_sequence
        self._patience_seconds = patience_seconds
        self._lock = asyncio.Lock()
        self._fenced = False

    @property
    def operation_id(self) -> str:
        """The operation it writes for."""
        return self._operation_id

    async def append(self, event: RunEvent) -> int:
        """Append the event after the last own one and return its sequence.

        Raises:
            FencedError: another attempt has written meanwhile.
            BusUnavailableError: the bus stayed away longer than the run's patience.
        """
        async with self._lock:
            if self._fenced:
                raise FencedError
            envelope = envelop_event(
                event,
                # The process is part of the id: two that claim the same attempt write different events, even
                # when someone gave them the same worker id.
                event_id=event_id_of(
                    self._operation_id, self._instance_id, event.attempt, self._sequence, event.NAME
                ),
                operation_id=self._operation_id,
                source=f"/worker/{self._worker_id}",
                time=self._clock.now(),
                correlation_id=self._root_id,
            )
            try:
                self._sequence = await self._patiently(
                    lambda: self._event_log.append(envelope, type(event), expected_sequence=self._sequence),
                    what=event.NAME,
                )
            except SequenceConflictError as conflict:
                self._fenced = not isinstance(event, Claimed)
                raise FencedError from conflict
            return self._sequence

    async def check(self) -> None:
        """Look whether someone else has written, without writing.

        Raises:
            FencedError: yes.
        """
        async with self._lock:
            newest = await self._event_log.last_sequence(self._operation_id, Side.RUN)
            if newest != self._sequence:
                self._fenced = True
                raise FencedError

    def _patiently(self, action: Callable[[], Awaitable[int]], *, what: str) -> Awaitable[int]:
        return patiently(
            action, what=f"append {what}", clock=self._clock, patience_seconds=self._patience_seconds
        )
