"""The command handler: one visible loop of load, decide, append, for every command and every entrance.

Authority: the log's expected sequence; two handlers that decide on the same state cannot both append. Failures: a
crash between the append and its effect is healed by the reactor; a command that is sent again finds its own event.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, assert_never

import structlog
from milepost_contracts.checkpoints import CheckpointOrigin
from milepost_contracts.commands import CancelOperation, Command, ResumeOperation, StartOperation
from milepost_contracts.envelope import Envelope
from milepost_contracts.errors import ContractError
from milepost_contracts.events import CancelRequested, Requested, Resumed
from milepost_contracts.failures import Problem, RejectionCode
from milepost_contracts.ids import event_id_of, operation_id_of
from milepost_contracts.messages import decode_command, problems_of
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected
from milepost_runtime.errors import BusUnavailableError, RuntimeServiceError, SequenceConflictError
from milepost_runtime.store.port import ArtifactStore
from pydantic import ValidationError

from milepost_orchestrator.application.effects import Appender, Effects
from milepost_orchestrator.application.errors import ContendedError
from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.application.specs import SpecResolver
from milepost_orchestrator.domain.decisions import (
    CommandIdentity,
    Rejection,
    Repeated,
    artifacts_missing,
    decide_cancel,
    decide_resume,
    decide_start,
)
from milepost_orchestrator.domain.operation import Operation

log = structlog.get_logger()
TRIES_MAX = 20
Answer: TypeAlias = Accepted | Duplicate | Rejected


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a command, and under which id."""

    command_id: str
    source: str


class CommandHandler:
    """Answers commands; the same for the bus and for HTTP."""

    def __init__(
        self,
        operations: Operations,
        appender: Appender,
        effects: Effects,
        specs: SpecResolver,
        store: ArtifactStore,
    ) -> None:
        self._operations = operations
        self._appender = appender
        self._effects = effects
        self._specs = specs
        self._store = store

    async def handle_envelope(self, envelope: Envelope) -> Answer:
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

    async def handle(self, command: Command, sender: Sender) -> Answer:
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
            operation_id=verdict.operation_id,
            code=verdict.code if isinstance(verdict, Rejected) else None,
            dry_run=command.dry_run,
        )
        return verdict

    async def _decide_and_append(self, command: Command, sender: Sender) -> Answer:
        for _ in range(TRIES_MAX):
            try:
                match command:
                    case StartOperation():
                        return await self._start(command, sender)
                    case CancelOperation():
                        return await self._cancel(command, sender)
                    case ResumeOperation():
                        return await self._resume(command, sender)
                    case _:
                        assert_never(command)
            except SequenceConflictError:
                continue  # someone else was first: look again, decide again
        raise ContendedError(f"{TRIES_MAX} times")

    # --- the three commands -----------------------------------------------------------------------

    async def _start(self, command: StartOperation, sender: Sender) -> Answer:
        operation_id = operation_id_of(sender.command_id)
        identity = _identity(command, sender, operation_id, Requested.NAME)
        state = await self._operations.load(operation_id)
        decision = decide_start(state, identity, await self._requested(command, operation_id, sender, state))
        match decision:
            case Rejection():
                return rejected(sender.command_id, decision)
            case Repeated():
                await self._follow_up(lambda: self._effects.dispatch(operation_id))
                return Duplicate(command_id=sender.command_id, operation_id=operation_id)
            case Requested():
                pass
            case _:
                assert_never(decision)
        if not command.dry_run:
            await self._append(operation_id, decision, identity, root_id=operation_id, expected_sequence=0)
            await self._follow_up(lambda: self._effects.dispatch_new(operation_id, decision))
        return Accepted(command_id=sender.command_id, operation_id=operation_id, dry_run=command.dry_run)

    async def _cancel(self, command: CancelOperation, sender: Sender) -> Answer:
        operation_id = command.operation_id
        identity = _identity(command, sender, operation_id, CancelRequested.NAME)
        state = await self._operations.load(operation_id)
        decision = decide_cancel(state, command, identity, sender.source)
        match decision:
            case Rejection():
                return rejected(sender.command_id, decision)
            case Repeated():
                await self._follow_up(lambda: self._effects.cancel(operation_id))
                return Duplicate(command_id=sender.command_id, operation_id=operation_id)
            case CancelRequested():
                pass
            case _:
                assert_never(decision)
        if not command.dry_run:
            await self._append_to(state, decision, identity)
            await self._follow_up(lambda: self._effects.cancel(operation_id))
        return Accepted(command_id=sender.command_id, operation_id=operation_id, dry_run=command.dry_run)

    async def _resume(self, command: ResumeOperation, sender: Sender) -> Answer:
        child_id = operation_id_of(sender.command_id)
        identity = _identity(command, sender, command.operation_id, Resumed.NAME)
        parent = await self._operations.load(command.operation_id)
        last_child_id = parent.facts.child_id if parent is not None else None
        child = await self._operations.load(child_id)
        last_child = child if last_child_id == child_id else await self._load_if(last_child_id)
        decision = decide_resume(
            parent,
            command,
            identity,
            child_id=child_id,
            child=child,
            last_child=last_child,
            requested_by=sender.source,
        )
        match decision:
            case Rejection():
                return rejected(sender.command_id, decision)
            case Repeated():
                if child is None:
                    await self._finish_resume(command.operation_id, child_id)
                return Duplicate(command_id=sender.command_id, operation_id=child_id)
            case Resumed():
                pass
            case _:
                assert_never(decision)
        refused = await self._missing_artifacts(parent, decision.child.origin)
        if refused is not None:
            return rejected(sender.command_id, refused)
        if not command.dry_run:
            await self._append_to(parent, decision, identity)
            await self._follow_up(
                lambda: self._effects.create_child(
                    decision, resumed_event_id=identity.event_id, command_id=sender.command_id
                )
            )
        origin = decision.child.origin
        return Accepted(
            command_id=sender.command_id,
            operation_id=child_id,
            parent_id=command.operation_id,
            checkpoint_id=decision.checkpoint_id,
            unit=origin.unit if origin else 0,
            dry_run=command.dry_run,
        )

    # --- steps ------------------------------------------------------------------------------------

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
            name=command.name,
            spec=resolved.spec,
            inputs=resolved.inputs,
            options=command.options,
            root_id=operation_id,
            requested_by=sender.source,
        )

    async def _missing_artifacts(
        self, parent: Operation | None, origin: CheckpointOrigin | None
    ) -> Rejection | None:
        if parent is None or origin is None:
            return None
        there = await asyncio.to_thread(lambda: [self._store.exists(each) for each in origin.artifacts])
        missing = [artifact for artifact, found in zip(origin.artifacts, there, strict=True) if not found]
        if not missing:
            return None
        return artifacts_missing(parent.facts.operation_id, origin, missing, parent.facts)

    async def _finish_resume(self, parent_id: str, child_id: str) -> None:
        """Carry out a resume that was accepted before and cut off before its child existed."""
        log.info("finishing a resume", parent_id=parent_id, operation_id=child_id)
        await self._follow_up(lambda: self._effects.finish_resume(parent_id, child_id))

    async def _load_if(self, operation_id: str | None) -> Operation | None:
        return None if operation_id is None else await self._operations.load(operation_id)

    async def _append_to(
        self, state: Operation | None, event: CancelRequested | Resumed, identity: CommandIdentity
    ) -> None:
        if state is None:
            raise AssertionError("an event was decided for an operation that does not exist")
        facts = state.facts
        await self._append(
            facts.operation_id,
            event,
            identity,
            root_id=facts.requested.root_id,
            expected_sequence=facts.control_sequence,
        )

    async def _append(
        self,
        operation_id: str,
        event: Requested | CancelRequested | Resumed,
        identity: CommandIdentity,
        *,
        root_id: str,
        expected_sequence: int,
    ) -> None:
        await self._appender.append(
            operation_id,
            event,
            event_id=identity.event_id,
            root_id=root_id,
            causation_id=identity.command_id,
            expected_sequence=expected_sequence,
        )

    async def _follow_up(self, effect: Callable[[], Awaitable[None]]) -> None:
        """Carry out the effect now; what fails here the reactor does when it reads the event."""
        try:
            await effect()
        except BusUnavailableError as error:
            log.warning("left to the reactor", reason=str(error))


def rejected(command_id: str, rejection: Rejection) -> Rejected:
    """Return the verdict for a rejection."""
    return Rejected(
        command_id=command_id,
        code=rejection.code,
        message=rejection.message,
        fix=rejection.fix,
        problems=rejection.problems,
        operation_id=rejection.operation_id,
    )


def invalid_command(command_id: str, message: str, problems: tuple[Problem, ...] = ()) -> Rejected:
    """Return the verdict on something that is not a command."""
    return Rejected(
        command_id=command_id,
        code=RejectionCode.INVALID_COMMAND,
        message=message,
        fix="compare it with the command's schema in contracts/schemas",
        problems=problems,
    )


def unavailable(command_id: str, reason: str) -> Rejected:
    """Return the verdict while something that is needed is away."""
    return Rejected(
        command_id=command_id,
        code=RejectionCode.UNAVAILABLE,
        message=reason,
        fix="send the same command with the same id again in a moment; `milepost doctor` says what is away",
    )


def _identity(command: Command, sender: Sender, operation_id: str, event_name: str) -> CommandIdentity:
    """The content goes into the event's id, so that a repetition and a reused id can be told apart."""
    content = json.dumps(command.model_dump(mode="json", exclude={"dry_run"}), sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return CommandIdentity(
        command_id=sender.command_id,
        event_id=event_id_of(operation_id, event_name, sender.command_id, digest),
    )
