"""Cleanups: delete the checkpoints that rules no longer keep, each by an event of its own operation.

Authority: the read models only name operations that are worth looking at; what goes is judged on the operation's
own events and appended at the sequence that was judged, so a resume, a fork or a pin at the same moment wins or
loses and never both. Failures: a cleanup that is cut off has deleted some and not the others; sent again it goes
on. Other writers first: the operation is judged anew.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from milepost_contracts.cleanup import CleanedUp, CleanUpCheckpoints, CleanupEntry
from milepost_contracts.events import CheckpointDeleted
from milepost_contracts.ids import event_id_of
from milepost_runtime.errors import EventDamagedError, SequenceConflictError

from milepost_orchestrator.application.answers import Sender
from milepost_orchestrator.application.command_writer import CommandWriter
from milepost_orchestrator.application.descendants import live_descendant
from milepost_orchestrator.application.effects import Effects
from milepost_orchestrator.application.errors import ContendedError
from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.domain.cleanup_decisions import Judged, deletion_of, judge_checkpoints
from milepost_orchestrator.domain.operation import Operation
from milepost_orchestrator.domain.rejections import CommandIdentity

log = structlog.get_logger()
TRIES_MAX = 20
PAGE = 100


class CleanupCandidates(Protocol):
    """Names operations that a cleanup has to look at; raises ``DatabaseUnavailableError`` when it is away."""

    async def operations_to_clean(
        self, rules: CleanUpCheckpoints, *, saved_before: datetime | None, after_id: str, limit: int
    ) -> Sequence[str]:
        """Return ids of operations with checkpoints that the rules may remove, sorted, after one of them.

        An operation too many costs a look; what only the newest rule keeps need not be named.
        """
        ...


class Cleanup:
    """Handles the command ``cleanup``; nothing is kept between two of them."""

    def __init__(
        self, candidates: CleanupCandidates, operations: Operations, writer: CommandWriter, effects: Effects
    ) -> None:
        self._candidates = candidates
        self._operations = operations
        self._writer = writer
        self._effects = effects

    async def handle(self, command: CleanUpCheckpoints, sender: Sender) -> CleanedUp:
        """Delete what goes (not in a dry run) and name everything that was looked at.

        Raises:
            BusUnavailableError, DatabaseUnavailableError: cut off; sending it again goes on.
            ContendedError: other writers were always first.
        """
        entries: list[CleanupEntry] = []
        unreadable: list[str] = []
        next_after: str | None = None
        async for operation_id, after_sequence in self._places(command):
            left = command.limit - len(entries)
            if left == 0:
                break
            try:
                judged = await self._clean(operation_id, command, sender, after_sequence, limit=left)
            except EventDamagedError as error:  # no reason to keep what belongs to others
                log.warning("operation not cleaned up", operation_id=operation_id, reason=str(error))
                unreadable.append(operation_id)
                continue
            entries.extend(_entry(state, each) for state, each in judged)
            if judged:
                next_after = f"{operation_id}:{judged[-1][1].checkpoint.sequence}"
        else:
            next_after = next_after if len(entries) == command.limit else None
        return CleanedUp(
            command_id=sender.command_id,
            deleted=tuple(each for each in entries if each.kept is None),
            skipped=tuple(each for each in entries if each.kept is not None),
            unreadable=tuple(unreadable),
            next_after=next_after,
            dry_run=command.dry_run,
        )

    async def _places(self, command: CleanUpCheckpoints) -> AsyncIterator[tuple[str, int]]:
        """Yield operations to look at, and after which of their checkpoints."""
        after_id, _, sequence = (command.after or "").partition(":")
        if after_id:
            yield after_id, int(sequence)
        saved_before = _saved_before(command, self._writer.now())
        while page := await self._candidates.operations_to_clean(
            command, saved_before=saved_before, after_id=after_id, limit=PAGE
        ):
            for operation_id in page:
                yield operation_id, 0
            after_id = page[-1]

    async def _clean(
        self,
        operation_id: str,
        command: CleanUpCheckpoints,
        sender: Sender,
        after_sequence: int,
        *,
        limit: int,
    ) -> list[tuple[Operation, Judged]]:
        """Judge one operation's checkpoints and delete those that go; return what was judged, in order."""
        done: list[tuple[Operation, Judged]] = []
        for _ in range(TRIES_MAX):
            state = await self._operations.load(operation_id)
            if state is None:
                return done
            now = self._writer.now()
            living = await live_descendant(self._operations, state, now)
            judged = judge_checkpoints(state, command, live_descendant=living, now=now)
            here = [each for each in judged if each.checkpoint.sequence > after_sequence][: limit - len(done)]
            try:
                for each in here:
                    if each.kept is None and not command.dry_run:
                        state = await self._delete(state, each, command, sender)
                    done.append((state, each))
                    after_sequence = each.checkpoint.sequence
            except SequenceConflictError:
                continue  # someone else was first: look again, judge again
            await self._forget_manifests(operation_id, done, dry_run=command.dry_run)
            return done
        raise ContendedError(f"{TRIES_MAX} times")

    async def _delete(
        self, state: Operation, judged: Judged, command: CleanUpCheckpoints, sender: Sender
    ) -> Operation:
        """Append the deletion where it was judged; return the state as the next one must expect it."""
        facts = state.facts
        event = deletion_of(judged, reason=command.reason, requested_by=sender.source)
        event_id = event_id_of(
            facts.operation_id, CheckpointDeleted.NAME, sender.command_id, judged.checkpoint.checkpoint_id
        )
        sequence = await self._writer.append(state, event, CommandIdentity(sender.command_id, event_id))
        log.info(
            "checkpoint deleted",
            operation_id=facts.operation_id,
            checkpoint_id=event.checkpoint_id,
            reason=event.reason,
            requested_by=event.requested_by,
        )
        return replace(state, facts=replace(facts, control_sequence=sequence))

    async def _forget_manifests(
        self, operation_id: str, done: Sequence[tuple[Operation, Judged]], *, dry_run: bool
    ) -> None:
        if dry_run:
            return
        gone = [deletion_of(each, reason=None, requested_by="") for _, each in done if each.kept is None]
        await self._writer.follow_up(
            lambda: _all(self._effects.follow(operation_id, deleted) for deleted in gone)
        )


async def _all(effects: Iterable[Awaitable[None]]) -> None:
    await asyncio.gather(*effects)


def _saved_before(rules: CleanUpCheckpoints, now: datetime) -> datetime | None:
    if rules.older_than_seconds is None:
        return None
    return now - timedelta(seconds=rules.older_than_seconds)


def _entry(state: Operation, judged: Judged) -> CleanupEntry:
    checkpoint = judged.checkpoint
    return CleanupEntry(
        operation_id=state.facts.operation_id,
        checkpoint_id=checkpoint.checkpoint_id,
        kind=state.facts.requested.kind,
        unit=checkpoint.unit,
        saved_at=checkpoint.saved_at,
        size_bytes=checkpoint.size_bytes,
        kept=judged.kept,
        message=judged.message,
    )
