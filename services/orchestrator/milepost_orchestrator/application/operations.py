"""Load operations by folding the log: the only way in which the application learns of a state."""

from collections.abc import Iterable

from milepost_contracts.events import Event, Progress, Side
from milepost_runtime.event_log import EventLog, LogEntry

from milepost_orchestrator.domain.evolution import Recorded, fold
from milepost_orchestrator.domain.operation import Operation


def recorded(entry: LogEntry) -> Recorded:
    """Return the part of a log entry that the domain folds."""
    envelope = entry.envelope
    return Recorded(
        sequence=entry.sequence,
        operation_id=entry.operation_id,
        event=entry.event,
        event_id=envelope.id,
        time=envelope.time,
        causation_id=envelope.causationid,
        imported_from=envelope.importedfrom,
    )


class Operations:
    """States of operations, read from the log."""

    def __init__(self, event_log: EventLog) -> None:
        self._event_log = event_log

    async def load(
        self, operation_id: str, *, without: Iterable[type[Event]] = (Progress,)
    ) -> Operation | None:
        """Return the state, None when there is no such operation.

        Progress is left out unless asked for, so the cost does not grow with it; the unit is then the last one
        of a checkpoint, start or end, and ``run_sequence`` that of the last other run event.

        Raises:
            BusUnavailableError: the log cannot be read.
        """
        entries = await self._event_log.read_operation(operation_id, without=tuple(without))
        return fold(recorded(entry) for entry in entries)

    async def entries(self, operation_id: str, *, side: Side) -> list[Recorded]:
        """Return the events of one side of an operation, in order, without progress."""
        entries = await self._event_log.read_operation(operation_id, side=side, without=(Progress,))
        return [recorded(entry) for entry in entries]

    async def load_for_run_append(self, operation_id: str) -> tuple[Operation | None, int]:
        """Return the state and what an append to the run side must expect.

        The sequence is read first: whatever is written after that look makes the append conflict, so the
        state can never be older than what the append claims to have seen.
        """
        expected_sequence = await self._event_log.last_sequence(operation_id, Side.RUN)
        return await self.load(operation_id), expected_sequence
