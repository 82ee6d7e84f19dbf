"""Cleanups: which checkpoints are not worth keeping any more, and what came of removing them."""

from collections import Counter
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import AwareDatetime, Field, StrictBool, StringConstraints, model_validator

from milepost_contracts.ids import CheckpointId, KindName, OperationId
from milepost_contracts.model import NO_FLAG, ContractModel, Unit

ENTRIES_MAX = 1000
"""A verdict names at most so many checkpoints, which fits into one message of the bus."""
CleanupPosition: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}:[0-9]{1,19}$")
]
"""Where a cleanup goes on: an operation, and the position of its last checkpoint that was looked at."""


class KeepBest(ContractModel):
    """Keep the checkpoints with the best values of a metric that their summaries hold, such as ``equity``."""

    metric: str = Field(min_length=1, max_length=100)
    count: Annotated[int, NO_FLAG] = Field(default=1, ge=1, le=10_000)
    """How many of each operation."""
    lowest: StrictBool = False
    """Whether low values are the good ones, as with a loss."""


class CleanUpCheckpoints(ContractModel):
    """Delete the checkpoints of operations that have ended, by rules; whatever must be kept is kept and named.

    A checkpoint goes when it is old enough, not among the newest and not among the best of its operation, not
    pinned, and nothing can have to go on from it any more.
    """

    TYPE: ClassVar[str] = "milepost.command.cleanup.v1"
    older_than_seconds: Annotated[float | None, NO_FLAG] = Field(default=None, ge=0, le=1e10)
    """Only what was saved longer ago; of any age when absent."""
    keep_newest: Annotated[int | None, NO_FLAG] = Field(default=None, ge=0, le=100_000)
    """Of each operation keep so many of the highest units."""
    keep_best: KeepBest | None = None
    kinds: tuple[KindName, ...] = Field(default=(), max_length=100)
    """Only of these kinds; of all when empty."""
    operation_id: OperationId | None = None
    """Only of this operation."""
    reason: str | None = Field(default=None, max_length=400)
    after: CleanupPosition | None = None
    """``next_after`` of the verdict before: a cleanup of many checkpoints is several commands."""
    limit: Annotated[int, NO_FLAG] = Field(default=200, ge=1, le=ENTRIES_MAX)
    """Look at no more than so many checkpoints that the rules would remove."""
    dry_run: StrictBool = False
    """Say what would be deleted and what would be skipped, and do nothing."""

    @model_validator(mode="after")
    def _has_a_rule(self) -> Self:
        if self.older_than_seconds is None and self.keep_newest is None and self.keep_best is None:
            raise ValueError(
                "a cleanup needs a rule: older_than_seconds, keep_newest or keep_best"
                " (keep_newest 0 removes every checkpoint that nothing needs)"
            )
        return self


class KeptBecause(StrEnum):
    """Why a checkpoint that is old enough was not deleted. Clients may rely on these words."""

    NEWEST = "newest"
    BEST = "best"
    PINNED = "pinned"
    IN_USE = "in-use"
    """Its operation has not ended, or something that goes on from it has not."""
    IMPORTED = "imported"
    """It lives where it was exported."""


class CleanupEntry(ContractModel):
    """One checkpoint that a cleanup looked at."""

    operation_id: OperationId
    checkpoint_id: CheckpointId
    kind: KindName
    unit: Unit
    saved_at: AwareDatetime
    size_bytes: int
    """Sum over its artifacts, shared ones included."""
    kept: KeptBecause | None = None
    """Absent for what was deleted."""
    message: str
    """Why it was deleted or kept, in words."""


class CleanedUp(ContractModel):
    """The cleanup was carried out (or would be, for a dry run): every checkpoint by name."""

    verdict: Literal["cleaned-up"] = "cleaned-up"
    command_id: str
    deleted: tuple[CleanupEntry, ...]
    skipped: tuple[CleanupEntry, ...]
    """What the rules' age fits and that was kept all the same, with the reason."""
    unreadable: tuple[OperationId, ...] = ()
    """Operations with an event that this version cannot read: all of theirs was kept."""
    next_after: CleanupPosition | None = None
    """Send the command again with this to go on; absent when everything was looked at."""
    dry_run: bool = False

    @property
    def deleted_bytes(self) -> int:
        """Sum over what was deleted, shared artifacts counted each time."""
        return sum(entry.size_bytes for entry in self.deleted)

    @property
    def kept_counts(self) -> Counter[str]:
        """How many were skipped for each reason."""
        return Counter(entry.kept.value for entry in self.skipped if entry.kept is not None)
