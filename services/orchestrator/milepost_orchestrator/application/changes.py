"""Handles the commands that change one operation: each becomes one control event of it."""

from typing import TypeAlias, assert_never

from milepost_contracts.commands import (
    CancelOperation,
    CheckpointNow,
    DeleteCheckpoint,
    PinCheckpoint,
    PrioritizeOperation,
    UnpinCheckpoint,
)
from milepost_contracts.events import (
    CancelRequested,
    CheckpointDeleted,
    CheckpointPinned,
    CheckpointRequested,
    CheckpointUnpinned,
    Event,
    Prioritized,
)
from milepost_contracts.verdicts import Accepted, Duplicate

from milepost_orchestrator.application.answers import Answer, Sender, identity_of, rejected
from milepost_orchestrator.application.command_writer import CommandWriter
from milepost_orchestrator.application.descendants import live_descendant
from milepost_orchestrator.application.effects import Effects
from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.domain.checkpoint_decisions import (
    decide_checkpoint_now,
    decide_delete,
    decide_pin,
)
from milepost_orchestrator.domain.decisions import decide_cancel
from milepost_orchestrator.domain.operation import Operation
from milepost_orchestrator.domain.priority_decisions import decide_prioritize
from milepost_orchestrator.domain.rejections import CommandIdentity, Rejection, Repeated

ChangeCommand: TypeAlias = (
    CancelOperation | CheckpointNow | PrioritizeOperation | PinCheckpoint | UnpinCheckpoint | DeleteCheckpoint
)
Change: TypeAlias = (
    CancelRequested
    | CheckpointRequested
    | Prioritized
    | CheckpointPinned
    | CheckpointUnpinned
    | CheckpointDeleted
)
_EVENTS: dict[type[ChangeCommand], type[Event]] = {
    CancelOperation: CancelRequested,
    CheckpointNow: CheckpointRequested,
    PrioritizeOperation: Prioritized,
    PinCheckpoint: CheckpointPinned,
    UnpinCheckpoint: CheckpointUnpinned,
    DeleteCheckpoint: CheckpointDeleted,
}


class OperationChanges:
    """One decision on the operation's events, one event, and what follows from it."""

    def __init__(self, operations: Operations, writer: CommandWriter, effects: Effects) -> None:
        self._operations = operations
        self._writer = writer
        self._effects = effects

    async def handle(self, command: ChangeCommand, sender: Sender) -> Answer:
        """Answer the command.

        Raises:
            SequenceConflictError: someone else was first; decide again.
            BusUnavailableError: the log is away.
        """
        operation_id = command.operation_id
        identity = identity_of(command, sender, operation_id, _EVENTS[type(command)].NAME)
        state = await self._operations.load(operation_id)
        decision = await self._decide(state, command, identity, sender.source)
        if isinstance(decision, Rejection):
            return rejected(sender.command_id, decision)
        if isinstance(decision, Repeated):
            await self._writer.follow_up(lambda: self._effects.repeat(operation_id, identity.event_id))
            return Duplicate(command_id=sender.command_id, operation_id=operation_id)
        if not command.dry_run:
            await self._writer.append(state, decision, identity)
            await self._writer.follow_up(lambda: self._effects.follow(operation_id, decision))
        return Accepted(
            command_id=sender.command_id,
            operation_id=operation_id,
            checkpoint_id=getattr(command, "checkpoint_id", None),
            dry_run=command.dry_run,
        )

    async def _decide(
        self, state: Operation | None, command: ChangeCommand, identity: CommandIdentity, requested_by: str
    ) -> Change | Repeated | Rejection:
        match command:
            case CancelOperation():
                return decide_cancel(state, command, identity, requested_by, self._writer.now())
            case CheckpointNow():
                return decide_checkpoint_now(state, command, identity, requested_by)
            case PrioritizeOperation():
                return decide_prioritize(state, command, identity, requested_by)
            case PinCheckpoint() | UnpinCheckpoint():
                return decide_pin(state, command, identity, requested_by)
            case DeleteCheckpoint():
                now = self._writer.now()
                living = await live_descendant(self._operations, state, now) if state is not None else None
                return decide_delete(
                    state, command, identity, live_descendant=living, requested_by=requested_by
                )
            case _:
                assert_never(command)
