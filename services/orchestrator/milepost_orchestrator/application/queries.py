"""What clients may ask: read models first, the log where those are behind or away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from milepost_runtime.errors import BusUnavailableError
from milepost_runtime.fleet import Fleet
from milepost_runtime.work_queue import WorkKey

from milepost_orchestrator.application.attention import Attention
from milepost_orchestrator.application.dispatching import Dispatching
from milepost_orchestrator.application.documents import (
    Document,
    OperationRows,
    Row,
    checkpoint_documents,
    operation_detail,
    operation_document,
    rows_of,
)
from milepost_orchestrator.application.errors import DatabaseUnavailableError
from milepost_orchestrator.application.filters import (
    CheckpointFilter,
    CheckpointSort,
    OperationFilter,
    OperationSort,
    Order,
    Position,
    position_of,
)
from milepost_orchestrator.application.lineage_tree import OPERATIONS_MAX, lineage_document
from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.application.waiting import gated_document, waiting_document
from milepost_orchestrator.domain.operation import TERMINAL_STATUSES, Status

log = structlog.get_logger()
PAGE_MAX = 200
NEWEST_OPERATIONS = Order(OperationSort.REQUESTED)
NEWEST_CHECKPOINTS = Order(CheckpointSort.SAVED)


@dataclass(frozen=True, slots=True)
class LiveOperation:
    """An operation that had not ended when it was read."""

    work: WorkKey
    cancelling: bool
    may_be_parked: bool = False
    """It is queued and has needs; ``Parking`` sees to its work."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some documents and where the next page begins."""

    documents: Sequence[Document]
    next_position: Position | None
    """None on the last page."""


class ReadModel(Protocol):
    """The read models. Every method raises ``DatabaseUnavailableError`` when they are away."""

    async def operations(
        self, wanted: OperationFilter, order: Order[OperationSort], *, limit: int
    ) -> Sequence[Row]:
        """Return operations, each with its value of the sorted column under ``POSITION``."""
        ...

    async def operation_counts(self, wanted: OperationFilter) -> Mapping[str, int]:
        """Return how many operations there are of each status; the filter's own statuses do not matter."""
        ...

    async def operation(self, operation_id: str) -> OperationRows | None:
        """Return everything about one operation, None when it is not there (yet)."""
        ...

    async def lineage(self, operation_id: str, *, limit: int) -> Sequence[Row]:
        """Return the operation's whole tree, parents before children, none when it is not there (yet).

        Each row has ``origin_unit`` beside the operation's columns: the unit of the checkpoint it goes on from.
        """
        ...

    async def checkpoints(
        self, wanted: CheckpointFilter, order: Order[CheckpointSort], *, limit: int
    ) -> tuple[Sequence[Row], Sequence[Row]]:
        """Return checkpoints, each with its value of the sorted column under ``POSITION``, and their artifacts."""
        ...

    async def checkpoint(self, checkpoint_id: str) -> tuple[Row, Sequence[Row]] | None:
        """Return one checkpoint and its artifacts, None when it is not there (yet)."""
        ...

    async def live_operations(self, *, after_id: str, limit: int) -> Sequence[LiveOperation]:
        """Return operations that had not ended, in the order of their ids, after one of them."""
        ...


class Queries:
    """Answers questions; documents are JSON-ready."""

    def __init__(
        self,
        read_model: ReadModel,
        operations: Operations,
        fleet: Fleet,
        dispatching: Dispatching,
        attention: Attention,
    ) -> None:
        self._attention = attention
        self._dispatching = dispatching
        self._read_model = read_model
        self._operations = operations
        self._fleet = fleet

    async def list_operations(
        self, wanted: OperationFilter, order: Order[OperationSort] = NEWEST_OPERATIONS, *, limit: int
    ) -> Page:
        """Return a page of operations, each with what it waits for.

        Raises:
            DatabaseUnavailableError: the read models are away.
        """
        limit = min(limit, PAGE_MAX)
        rows = await self._read_model.operations(wanted, order, limit=limit + 1)
        waiting = await self._waiting_of(rows[:limit])
        documents = [
            {**operation_document(row), "waiting": waiting.get(row["operation_id"])} for row in rows[:limit]
        ]
        return Page(documents, _next_position(rows, limit, "requested_sequence"))

    async def count_operations(self, wanted: OperationFilter) -> dict[str, int]:
        """Return how many operations of each status fit the filter, whose own statuses do not matter.

        Raises:
            DatabaseUnavailableError: the read models are away.
        """
        found = await self._read_model.operation_counts(wanted)
        return {status.value: found.get(status.value, 0) for status in Status}

    async def operation(self, operation_id: str) -> Document | None:
        """Return one operation with all that belongs to it, None when there is none.

        One that is not projected yet, or cannot be read while the database is away, is folded from the log.

        Raises:
            BusUnavailableError: neither can be read.
        """
        try:
            rows = await self._read_model.operation(operation_id)
        except DatabaseUnavailableError as error:
            log.warning("answered from the log", operation_id=operation_id, reason=str(error))
            rows = None
        if rows is None:
            state = await self._operations.load(operation_id, without=())
            rows = rows_of(state) if state is not None else None
        if rows is None:
            return None
        document = operation_detail(rows)
        return {**document, "waiting": await self._waiting(document)}

    async def lineage(self, operation_id: str) -> Document | None:
        """Return the tree of operations that this one belongs to, None when there is no such operation.

        Raises:
            DatabaseUnavailableError: the read models are away.
        """
        rows = await self._read_model.lineage(operation_id, limit=OPERATIONS_MAX + 1)
        if not rows:
            return None
        shown = rows[:OPERATIONS_MAX]
        return lineage_document(rows[0]["root_id"], shown, more=len(rows) > len(shown))

    async def _waiting_of(self, rows: Sequence[Row]) -> dict[str, Document | None]:
        """Return what each that has not ended waits for; whether one has stalled only its detail says."""
        moving = [row for row in rows if row["status"] not in TERMINAL_STATUSES]
        if not moving:
            return {}
        try:
            workers, policy = await self._fleet.workers(), await self._dispatching.policy()
        except BusUnavailableError as error:
            log.warning("the fleet cannot be read", reason=str(error))
            return {}
        return {
            row["operation_id"]: (
                gated_document(row["kind"], policy, workers) if row["status"] == Status.QUEUED else None
            )
            or waiting_document(row, workers, self._attention.glance(row))
            for row in moving
        }

    async def _waiting(self, document: Document) -> Document | None:
        if document["status"] in TERMINAL_STATUSES:
            return None
        try:
            workers = await self._fleet.workers()
            gated = None
            if document["status"] == Status.QUEUED:
                gated = gated_document(document["kind"], await self._dispatching.policy(), workers)
            return gated or waiting_document(document, workers, await self._attention.quiet(document))
        except BusUnavailableError as error:
            log.warning("the fleet cannot be read", reason=str(error))
            return None  # the operation itself is worth showing all the same

    async def list_checkpoints(
        self, wanted: CheckpointFilter, order: Order[CheckpointSort] = NEWEST_CHECKPOINTS, *, limit: int
    ) -> Page:
        """Return a page of checkpoints.

        Raises:
            DatabaseUnavailableError: the read models are away.
        """
        limit = min(limit, PAGE_MAX)
        rows, artifacts = await self._read_model.checkpoints(wanted, order, limit=limit + 1)
        documents = checkpoint_documents(rows[:limit], artifacts)
        return Page(documents, _next_position(rows, limit, "sequence"))

    async def checkpoint(self, checkpoint_id: str) -> Document | None:
        """Return one checkpoint, None when there is none.

        Raises:
            DatabaseUnavailableError: the read models are away.
        """
        found = await self._read_model.checkpoint(checkpoint_id)
        if found is None:
            return None
        row, artifacts = found
        return checkpoint_documents([row], artifacts)[0]

    async def workers(self) -> list[Document]:
        """Return the live workers.

        Raises:
            BusUnavailableError: the fleet cannot be read.
        """
        return [heartbeat.model_dump(mode="json") for heartbeat in await self._fleet.workers()]


def _next_position(rows: Sequence[Row], limit: int, sequence_column: str) -> Position | None:
    return position_of(rows[limit - 1], sequence_column) if len(rows) > limit else None
