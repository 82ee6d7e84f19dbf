"""Writes what a command led to, and carries out what follows from it."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog
from milepost_contracts.events import Event
from milepost_runtime.errors import RuntimeServiceError

from milepost_orchestrator.application.effects import Appender
from milepost_orchestrator.domain.operation import Operation
from milepost_orchestrator.domain.rejections import CommandIdentity

log = structlog.get_logger()


class CommandWriter:
    """Appends the events of commands at the sequence that was decided on."""

    def __init__(self, appender: Appender) -> None:
        self._appender = appender

    def now(self) -> datetime:
        """Return the time that decisions count from."""
        return self._appender.now()

    async def begin(
        self, operation_id: str, event: Event, identity: CommandIdentity, *, root_id: str
    ) -> None:
        """Append the first event of an operation.

        Raises:
            SequenceConflictError: someone else was first.
            BusUnavailableError: no answer; repeating is safe.
        """
        await self._append(operation_id, event, identity, root_id=root_id, expected_sequence=0)

    async def append(self, state: Operation | None, event: Event, identity: CommandIdentity) -> int:
        """Append a control event that was decided on ``state``; return its sequence; raises as ``begin`` does."""
        if state is None:
            raise AssertionError("an event was decided for an operation that does not exist")
        facts = state.facts
        return await self._append(
            facts.operation_id,
            event,
            identity,
            root_id=facts.requested.root_id,
            expected_sequence=facts.control_sequence,
        )

    async def follow_up(self, effect: Callable[[], Awaitable[None]]) -> None:
        """Carry out the effect now; what fails here the reactor does when it reads the event."""
        try:
            await effect()
        except RuntimeServiceError as error:
            log.warning("left to the reactor", reason=str(error))

    async def _append(
        self,
        operation_id: str,
        event: Event,
        identity: CommandIdentity,
        *,
        root_id: str,
        expected_sequence: int,
    ) -> int:
        return await self._appender.append(
            operation_id,
            event,
            event_id=identity.event_id,
            root_id=root_id,
            causation_id=identity.command_id,
            expected_sequence=expected_sequence,
        )
