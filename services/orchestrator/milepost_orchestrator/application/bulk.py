"""One command to many: the count first, then a command to each with its own verdict.

States: targets found (in the read models) -> counted -> each decided on the log for itself. Authority: the log,
for each of them; the read models only say which are meant. Failures: what is refused is told and stops nothing
else; cut off and sent again it goes on with what is left, and the ids of the single commands follow from its own.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from milepost_contracts.commands import CancelOperation, DeleteCheckpoint, ResumeOperation
from milepost_contracts.ids import bulk_command_id_of

from milepost_orchestrator.application.answers import Answer, Sender
from milepost_orchestrator.application.commands import CommandHandler
from milepost_orchestrator.application.documents import Document
from milepost_orchestrator.application.filters import (
    CheckpointFilter,
    CheckpointSort,
    OperationFilter,
    OperationSort,
    Order,
    Position,
)
from milepost_orchestrator.application.queries import PAGE_MAX, Queries
from milepost_orchestrator.domain.bulk import TARGETS_MAX, decide_bulk
from milepost_orchestrator.domain.operation import Status
from milepost_orchestrator.domain.rejections import Rejection

PARALLEL = 8
EACH = "op-each"
"""Stands in a command where each target's own id goes."""
CANCELLABLE = (Status.QUEUED.value, Status.RUNNING.value)
RESUMABLE = (Status.CANCELLED.value, Status.FAILED.value)


@dataclass(frozen=True, slots=True)
class Target:
    """One of many, with the command that is for it."""

    target_id: str
    command: CancelOperation | ResumeOperation | DeleteCheckpoint
    name: str | None = None
    """What people know it by."""


@dataclass(frozen=True, slots=True)
class Count:
    """What is expected of the count."""

    expected: int | None = None
    any: bool = False


class Bulk:
    """Finds what a filter means and sends each its command."""

    def __init__(self, queries: Queries, handler: CommandHandler) -> None:
        self._queries = queries
        self._handler = handler

    async def cancels(self, wanted: OperationFilter, command: CancelOperation) -> list[Target]:
        """Return a cancel like ``command`` for each operation that is wanted; those that can be, by default.

        Raises:
            DatabaseUnavailableError: the read models are away.
        """
        sooner = command.force or command.deadline_seconds is not None
        found = await self._operations(
            wanted, (*CANCELLABLE, *((Status.CANCELLING.value,) if sooner else ()))
        )
        return [_about_operation(each, command) for each in found]

    async def resumes(self, wanted: OperationFilter, command: ResumeOperation) -> list[Target]:
        """Return a resume for each operation that is wanted, oldest first; raises as ``cancels`` does."""
        return [_about_operation(each, command) for each in await self._operations(wanted, RESUMABLE)]

    async def deletions(self, wanted: CheckpointFilter, command: DeleteCheckpoint) -> list[Target]:
        """Return a deletion for each checkpoint that is wanted, oldest first; raises as ``cancels`` does."""
        targets: list[Target] = []
        after: Position | None = None
        while len(targets) <= TARGETS_MAX:
            order = Order(CheckpointSort.SAVED, descending=False, after=after)
            page = await self._queries.list_checkpoints(wanted, order, limit=PAGE_MAX)
            targets.extend(_about_checkpoint(each, command) for each in page.documents)
            after = page.next_position
            if after is None:
                break
        return targets

    def refusal(self, targets: Sequence[Target], count: Count) -> Rejection | None:
        """Return why nothing is done; None when it can begin."""
        return decide_bulk(len(targets), count.expected, any_count=count.any)

    async def run(
        self, targets: Sequence[Target], sender: Sender, *, dry_run: bool
    ) -> AsyncGenerator[tuple[Target, Answer]]:
        """Yield the verdict on each target, in their order; some are decided at the same time."""
        for first in range(0, len(targets), PARALLEL):
            some = targets[first : first + PARALLEL]
            answers = await asyncio.gather(*(self._send(target, sender, dry_run=dry_run) for target in some))
            for target, answer in zip(some, answers, strict=True):
                yield target, answer

    async def _send(self, target: Target, sender: Sender, *, dry_run: bool) -> Answer:
        command_id = bulk_command_id_of(sender.command_id, target.target_id)
        command = target.command.model_copy(update={"dry_run": dry_run})
        return await self._handler.handle(command, Sender(command_id, sender.source))

    async def _operations(self, wanted: OperationFilter, statuses: tuple[str, ...]) -> list[Document]:
        wanted = wanted if wanted.statuses else replace(wanted, statuses=statuses)
        found: list[Document] = []
        after: Position | None = None
        while len(found) <= TARGETS_MAX:
            order = Order(OperationSort.REQUESTED, descending=False, after=after)
            page = await self._queries.list_operations(wanted, order, limit=PAGE_MAX)
            found.extend(page.documents)
            after = page.next_position
            if after is None:
                break
        return found


def _about_operation(document: Document, command: CancelOperation | ResumeOperation) -> Target:
    operation_id = document["operation_id"]
    return Target(operation_id, command.model_copy(update={"operation_id": operation_id}), document["name"])


def _about_checkpoint(document: Document, command: DeleteCheckpoint) -> Target:
    about = {name: document[name] for name in ("operation_id", "checkpoint_id")}
    words = f"{document['unit_name'] or 'unit'} {document['unit']}"
    return Target(document["checkpoint_id"], command.model_copy(update=about), words)
