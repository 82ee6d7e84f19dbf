"""Handles the commands that make an operation out of another one: resume, fork, retry."""

import asyncio
from typing import TypeAlias, assert_never

import structlog
from milepost_contracts.checkpoints import CheckpointOrigin
from milepost_contracts.commands import ForkOperation, ResumeOperation, RetryOperation
from milepost_contracts.events import CheckpointContinued, Resumed
from milepost_contracts.ids import event_id_of, operation_id_of
from milepost_contracts.verdicts import Accepted, Duplicate
from milepost_runtime.store.port import ArtifactStore

from milepost_orchestrator.application.answers import Answer, Sender, identity_of, rejected
from milepost_orchestrator.application.command_writer import CommandWriter
from milepost_orchestrator.application.effects import Effects
from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.application.specs import SpecResolver
from milepost_orchestrator.domain.lineage_decisions import (
    ChildDecision,
    Kin,
    artifacts_missing,
    decide_continuation,
    decide_fork,
    decide_resume,
    decide_retry,
)
from milepost_orchestrator.domain.operation import Operation
from milepost_orchestrator.domain.rejections import (
    CommandIdentity,
    Rejection,
    Repeated,
    operation_not_found,
)

log = structlog.get_logger()
ChildCommand: TypeAlias = ResumeOperation | ForkOperation | RetryOperation


class Lineage:
    """One decision on the parent's events; the child is created from the event that it led to."""

    def __init__(
        self,
        operations: Operations,
        writer: CommandWriter,
        effects: Effects,
        specs: SpecResolver,
        store: ArtifactStore,
    ) -> None:
        self._operations = operations
        self._writer = writer
        self._effects = effects
        self._specs = specs
        self._store = store

    async def handle(self, command: ChildCommand, sender: Sender) -> Answer:
        """Answer the command.

        Raises:
            SequenceConflictError: someone else was first; decide again.
            BusUnavailableError, StoreUnavailableError: something needed is away.
        """
        identity = identity_of(command, sender, command.operation_id, Resumed.NAME)
        parent = await self._operations.load(command.operation_id)
        kin = await self._kin(parent, operation_id_of(sender.command_id))
        decision = await self._decide(parent, command, identity, kin, sender.source)
        match decision:
            case Rejection():
                return rejected(sender.command_id, decision)
            case Repeated():
                if kin.child is None:
                    await self._finish(command.operation_id, kin.child_id)
                return Duplicate(command_id=sender.command_id, operation_id=kin.child_id)
            case Resumed():
                pass
            case _:
                assert_never(decision)
        owner = await self._origin_elsewhere(command, decision.child.origin)
        continued = decide_continuation(owner, command.operation_id, decision, sender.source)
        if isinstance(continued, Rejection):
            return rejected(sender.command_id, continued)
        refused = await self._missing_artifacts(parent, decision.child.origin)
        if refused is not None:
            return rejected(sender.command_id, refused)
        if not command.dry_run:
            await self._announce(owner, continued, sender)
            await self._writer.append(parent, decision, identity)
            await self._writer.follow_up(
                lambda: self._effects.create_child(
                    decision, resumed_event_id=identity.event_id, command_id=sender.command_id
                )
            )
        return _accepted(command, sender, decision)

    async def _kin(self, parent: Operation | None, child_id: str) -> Kin:
        last_child_id = parent.facts.child_id if parent is not None else None
        child = await self._operations.load(child_id)
        if last_child_id is None or last_child_id == child_id:
            return Kin(child_id, child, child if last_child_id else None)
        return Kin(child_id, child, await self._operations.load(last_child_id))

    async def _decide(
        self,
        parent: Operation | None,
        command: ChildCommand,
        identity: CommandIdentity,
        kin: Kin,
        requested_by: str,
    ) -> ChildDecision:
        match command:
            case ResumeOperation():
                return decide_resume(parent, command, identity, kin, requested_by)
            case RetryOperation():
                return decide_retry(parent, command, identity, kin, requested_by)
            case ForkOperation():
                if parent is None:
                    return operation_not_found(command.operation_id)
                amended = await self._specs.amended(parent.facts.requested, command.changes)
                return decide_fork(parent, command, identity, kin, amended=amended, requested_by=requested_by)
            case _:
                assert_never(command)

    async def _origin_elsewhere(
        self, command: ChildCommand, origin: CheckpointOrigin | None
    ) -> Operation | None:
        """Return the operation whose checkpoint the child goes on from, when that is not its parent's own."""
        if origin is None or origin.operation_id == command.operation_id:
            return None
        return await self._operations.load(origin.operation_id)

    async def _announce(
        self, owner: Operation | None, continued: CheckpointContinued | None, sender: Sender
    ) -> None:
        """Say in the checkpoint's own operation that it is gone on from: a deletion is decided there."""
        if owner is None or continued is None:
            return
        facts = owner.facts
        event_id = event_id_of(
            facts.operation_id, CheckpointContinued.NAME, continued.child_id, facts.control_sequence
        )
        await self._writer.append(owner, continued, CommandIdentity(sender.command_id, event_id))

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

    async def _finish(self, parent_id: str, child_id: str) -> None:
        """Carry out what was accepted before and cut off before the child existed."""
        log.info("finishing a resume", parent_id=parent_id, operation_id=child_id)
        await self._writer.follow_up(lambda: self._effects.finish_resume(parent_id, child_id))


def _accepted(command: ChildCommand, sender: Sender, decision: Resumed) -> Accepted:
    origin = decision.child.origin
    return Accepted(
        command_id=sender.command_id,
        operation_id=decision.child_id,
        parent_id=command.operation_id,
        checkpoint_id=decision.checkpoint_id,
        unit=origin.unit if origin else 0,
        changes=decision.child.changes,
        dry_run=command.dry_run,
    )
