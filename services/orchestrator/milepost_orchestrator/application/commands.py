"""The command handler: one visible loop of load, decide, append, for every command and every entrance.

Authority: the log's expected sequence; two handlers that decide on the same state cannot both append. Failures: a
crash between the append and its effect is healed by the reactor; a command that is sent again finds its own event.
"""

from typing import assert_never, overload

import structlog
from milepost_contracts.cleanup import CleanedUp, CleanUpCheckpoints
from milepost_contracts.commands import (
    Command,
    DispatchCommand,
    DrainWorker,
    ForkOperation,
    HoldDispatch,
    LimitKind,
    OperationCommand,
    ReleaseDispatch,
    ResumeOperation,
    RetryOperation,
    StartOperation,
    UndrainWorker,
)
from milepost_contracts.envelope import Envelope
from milepost_contracts.errors import ContractError
from milepost_contracts.events import Requested
from milepost_contracts.failures import Problem
from milepost_contracts.ids import operation_id_of
from milepost_contracts.messages import decode_command
from milepost_contracts.problems import problems_of
from milepost_contracts.schedules import (
    CreateSchedule,
    DeleteSchedule,
    PauseSchedule,
    ScheduleCommand,
    UnpauseSchedule,
)
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected
from milepost_runtime.errors import RuntimeServiceError, SequenceConflictError
from milepost_runtime.store.port import ArtifactStore
from pydantic import ValidationError

from milepost_orchestrator.application.answers import (
    Answer,
    AnyAnswer,
    Sender,
    identity_of,
    invalid_command,
    rejected,
    unavailable,
)
from milepost_orchestrator.application.changes import OperationChanges
from milepost_orchestrator.application.cleanup import Cleanup, CleanupCandidates
from milepost_orchestrator.application.command_writer import CommandWriter
from milepost_orchestrator.application.dispatching import Dispatching
from milepost_orchestrator.application.effects import Appender, Effects
from milepost_orchestrator.application.errors import ContendedError
from milepost_orchestrator.application.lineage import Lineage
from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.application.schedules import Schedules
from milepost_orchestrator.application.specs import SpecResolver
from milepost_orchestrator.domain.decisions import decide_start
from milepost_orchestrator.domain.operation import Operation
from milepost_orchestrator.domain.rejections import Rejection, Repeated

log = structlog.get_logger()
TRIES_MAX = 20


class CommandHandler:
    """Answers commands; the same for the bus and for HTTP."""

    def __init__(
        self,
        operations: Operations,
        appender: Appender,
        effects: Effects,
        specs: SpecResolver,
        store: ArtifactStore,
        dispatching: Dispatching,
        schedules: Schedules,
        candidates: CleanupCandidates,
    ) -> None:
        self._dispatching = dispatching
        self._schedules = schedules
        self._operations = operations
        self._effects = effects
        self._specs = specs
        self._writer = CommandWriter(appender)
        self._changes = OperationChanges(operations, self._writer, effects)
        self._cleanup = Cleanup(candidates, operations, self._writer, effects)
        self._lineage = Lineage(operations, self._writer, effects, specs, store)

    async def handle_envelope(self, envelope: Envelope) -> AnyAnswer:
        """Answer a command in its envelope; whatever is wrong with it is in the verdict."""
        try:
            command = decode_command(envelope)
        except ValidationError as error:
            return invalid_command(
                envelope.id, "the command does not fit its type", problems_of(error, "data")
            )
        except ContractError as error:
            return invalid_command(envelope.id, str(error), (Problem(field="type", message=str(error)),))
        return await self.handle(command, Sender(envelope.id, envelope.source))

    @overload
    async def handle(
        self, command: OperationCommand | DispatchCommand | ScheduleCommand, sender: Sender
    ) -> Answer: ...

    @overload
    async def handle(self, command: CleanUpCheckpoints, sender: Sender) -> CleanedUp | Rejected: ...

    async def handle(self, command: Command, sender: Sender) -> AnyAnswer:
        """Answer a command: accepted, duplicate, or rejected with the reason. Never raises for an outage."""
        try:
            verdict = await self._decide_and_append(command, sender)
        except RuntimeServiceError as error:
            log.warning("command not handled", command_id=sender.command_id, reason=str(error))
            verdict = unavailable(sender.command_id, str(error))
        log.info(
            "verdict",
            command=command.TYPE,
            command_id=sender.command_id,
            verdict=verdict.verdict,
            operation_id=None if isinstance(verdict, CleanedUp) else verdict.operation_id,
            code=verdict.code if isinstance(verdict, Rejected) else None,
            dry_run=command.dry_run,
        )
        return verdict

    async def _decide_and_append(self, command: Command, sender: Sender) -> AnyAnswer:
        for _ in range(TRIES_MAX):
            try:
                match command:
                    case StartOperation():
                        return await self._start(command, sender)
                    case ResumeOperation() | ForkOperation() | RetryOperation():
                        return await self._lineage.handle(command, sender)
                    case HoldDispatch() | ReleaseDispatch() | LimitKind() | DrainWorker() | UndrainWorker():
                        return await self._dispatching.handle(command, sender)
                    case CreateSchedule() | PauseSchedule() | UnpauseSchedule() | DeleteSchedule():
                        return await self._schedules.handle(command, sender)
                    case CleanUpCheckpoints():
                        return await self._cleanup.handle(command, sender)
                    case _:
                        return await self._changes.handle(command, sender)
            except SequenceConflictError:
                continue  # someone else was first: look again, decide again
        raise ContendedError(f"{TRIES_MAX} times")

    async def _start(self, command: StartOperation, sender: Sender) -> Answer:
        operation_id = operation_id_of(sender.command_id)
        identity = identity_of(command, sender, operation_id, Requested.NAME)
        state = await self._operations.load(operation_id)
        decision = decide_start(state, identity, await self._requested(command, operation_id, sender, state))
        match decision:
            case Rejection():
                return rejected(sender.command_id, decision)
            case Repeated():
                await self._writer.follow_up(lambda: self._effects.dispatch(operation_id))
                return Duplicate(command_id=sender.command_id, operation_id=operation_id)
            case Requested():
                pass
            case _:
                assert_never(decision)
        if not command.dry_run:
            await self._writer.begin(operation_id, decision, identity, root_id=operation_id)
            await self._writer.follow_up(lambda: self._effects.dispatch_new(operation_id, decision))
        return Accepted(command_id=sender.command_id, operation_id=operation_id, dry_run=command.dry_run)

    async def _requested(
        self, command: StartOperation, operation_id: str, sender: Sender, state: Operation | None
    ) -> Requested | Rejection:
        if state is not None:
            return state.facts.requested  # not looked at: the operation exists
        resolved = await self._specs.resolve(command.kind, command.spec)
        if isinstance(resolved, Rejection):
            return resolved
        return Requested(
            kind=command.kind,
            queue=command.queue,
            priority=command.priority,
            name=command.name,
            spec=resolved.spec,
            inputs=resolved.inputs,
            options=command.options,
            root_id=operation_id,
            requested_by=sender.source,
        )
