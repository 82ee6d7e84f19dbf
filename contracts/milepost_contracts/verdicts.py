"""Verdicts: what the orchestrator answers to a command."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from milepost_contracts.cleanup import CleanedUp
from milepost_contracts.failures import Problem, RejectionCode
from milepost_contracts.ids import CheckpointId, OperationId
from milepost_contracts.lineage import SettingChange
from milepost_contracts.model import ContractModel


class Accepted(ContractModel):
    """The command took effect (or would, for a dry run)."""

    verdict: Literal["accepted"] = "accepted"
    command_id: str
    operation_id: OperationId
    """The operation started, cancelled, or created by the resume; ``dispatch`` for commands
    about dispatch, the schedule's id for commands about one."""
    parent_id: OperationId | None = None
    checkpoint_id: CheckpointId | None = None
    unit: int | None = None
    """The unit that a resumed operation goes on from."""
    changes: tuple[SettingChange, ...] = ()
    """What a fork has otherwise than its parent."""
    dry_run: bool = False


class Duplicate(ContractModel):
    """The same command, by its id, took effect before; nothing was done again."""

    verdict: Literal["duplicate"] = "duplicate"
    command_id: str
    operation_id: OperationId


class Rejected(ContractModel):
    """The command was refused; nothing was started and nothing was lost."""

    verdict: Literal["rejected"] = "rejected"
    command_id: str
    code: RejectionCode
    message: str
    fix: str
    """What to do about it."""
    problems: tuple[Problem, ...] = ()
    """Everything that is wrong, not only the first thing."""
    operation_id: OperationId | None = None
    """The operation it is about; for a resume in progress, the child that won."""


Verdict: TypeAlias = Annotated[Accepted | Duplicate | Rejected, Field(discriminator="verdict")]
"""On a command about one operation."""
VERDICT: TypeAdapter[Accepted | Duplicate | Rejected] = TypeAdapter(Verdict)
CleanupVerdict: TypeAlias = Annotated[CleanedUp | Rejected, Field(discriminator="verdict")]
"""On a cleanup."""
CLEANUP_VERDICT: TypeAdapter[CleanedUp | Rejected] = TypeAdapter(CleanupVerdict)
AnyVerdict: TypeAlias = Annotated[Accepted | Duplicate | Rejected | CleanedUp, Field(discriminator="verdict")]
ANY_VERDICT: TypeAdapter[Accepted | Duplicate | Rejected | CleanedUp] = TypeAdapter(AnyVerdict)
"""For those who do not know which command it is the verdict on."""
