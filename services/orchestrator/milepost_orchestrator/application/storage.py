"""How much is kept, of what, since when, and how much was deleted: for people who pay for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from milepost_orchestrator.application.documents import Document

AGES: tuple[tuple[str, float], ...] = (("day", 86_400.0), ("week", 604_800.0), ("month", 2_592_000.0))
"""Ages by the longest that they hold, in seconds; what is older than all of them is ``older``."""
OLDER = "older"


@dataclass(frozen=True, slots=True)
class StorageRows:
    """Sums over rows, grouped."""

    kept: Sequence[Mapping[str, Any]]
    """By ``kind``, ``status`` (the operation's) and ``age``: ``count``, ``size_bytes``, ``pinned``."""
    deleted: Sequence[Mapping[str, Any]]
    """By ``kind`` and ``requested_by``: ``count``, ``size_bytes``, ``last_at``."""
    unique_bytes: int
    """Of all artifacts of kept checkpoints, each counted once."""


class StorageStatistics(Protocol):
    """Reads the sums; raises ``DatabaseUnavailableError`` when the read models are away."""

    async def storage(self, now: datetime) -> StorageRows:
        """Return them as of now."""
        ...


def storage_document(rows: StorageRows) -> Document:
    """Return the sums as clients see them."""
    return {
        "checkpoints": {
            "count": sum(row["count"] for row in rows.kept),
            "size_bytes": sum(row["size_bytes"] for row in rows.kept),
            "unique_bytes": rows.unique_bytes,
            "pinned": sum(row["pinned"] for row in rows.kept),
            "by": [dict(row) for row in rows.kept],
        },
        "deleted": {
            "count": sum(row["count"] for row in rows.deleted),
            "size_bytes": sum(row["size_bytes"] for row in rows.deleted),
            "by": [{**row, "last_at": row["last_at"].isoformat()} for row in rows.deleted],
        },
    }
