"""Where read models, their cursor and the quarantine live: a port."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from milepost_orchestrator.application.projections import Changes


class ProjectionStore(Protocol):
    """Read models for writing. Every method raises ``DatabaseUnavailableError`` when the database is away."""

    async def cursor(self) -> int:
        """Return the last sequence that was applied, 0 for none."""
        ...

    async def quarantined_operations(self) -> int:
        """Return how many operations have events in quarantine."""
        ...

    async def quarantined(
        self, *, after: str, up_to: str | None = None, limit: int
    ) -> Mapping[str, frozenset[int]]:
        """Return the sequences in quarantine by operation, in the order of their ids, of ids within those two."""
        ...

    async def quarantined_of(self, operation_id: str) -> frozenset[int]:
        """Return the sequences of one operation that are in quarantine."""
        ...

    async def apply(self, changes: Changes, *, cursor_min: int) -> bool:
        """Write the rows and move the cursor, in one transaction; False when they were written before.

        Raises:
            CursorMovedError: the cursor is before ``cursor_min``, so something between is missing; or other read
                models have taken the place of those whose cursor was read.
            UnwritableError: the database refuses a row for what is in it; nothing was written.
            DatabaseUnavailableError: not written, or not known whether; repeating is safe.
        """
        ...

    async def replace(self, operation_id: str, rows: Callable[[int], Awaitable[Changes]]) -> Changes:
        """Write all rows of one operation anew, in one transaction; projectors then forget what they know.

        ``rows`` is given the cursor and returns everything that follows from the operation's events up to it.

        Raises:
            UnwritableError: a row is refused; everything is as it was.
        """
        ...

    async def restore(self, operation_ids: Sequence[str], changes: Changes, *, cursor: int) -> None:
        """Write all rows of some operations anew, in one transaction, the cursor staying where it is.

        Raises:
            CursorMovedError: the cursor is not at ``cursor`` any more: the rows may be older than what is there.
            UnwritableError: a row is refused; everything is as it was.
        """
        ...

    async def advance(self, sequence: int) -> None:
        """Move the cursor forward: there was nothing more up to ``sequence``."""
        ...
