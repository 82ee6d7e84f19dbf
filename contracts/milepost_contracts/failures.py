"""Why something did not happen: problems of a command, rejections, failures of an operation."""

from enum import StrEnum

from milepost_contracts.model import ContractModel


class RejectionCode(StrEnum):
    """Every reason for which a command is refused. Clients may rely on these words."""

    INVALID_COMMAND = "invalid-command"
    INVALID_SPEC = "invalid-spec"
    UNKNOWN_KIND = "unknown-kind"
    UNKNOWN_DATASET = "unknown-dataset"
    OPERATION_NOT_FOUND = "operation-not-found"
    CHECKPOINT_NOT_FOUND = "checkpoint-not-found"
    NOT_CANCELLABLE = "not-cancellable"
    ALREADY_CANCELLING = "already-cancelling"
    NOT_RESUMABLE = "not-resumable"
    RESUME_IN_PROGRESS = "resume-in-progress"
    NOT_RUNNING = "not-running"
    CHECKPOINT_IN_USE = "checkpoint-in-use"
    CHECKPOINT_PINNED = "checkpoint-pinned"
    PIN_UNCHANGED = "pin-unchanged"
    NOT_RETRYABLE = "not-retryable"
    NOTHING_TO_FORK = "nothing-to-fork"
    NOT_CHANGEABLE = "not-changeable"
    NOTHING_CHANGED = "nothing-changed"
    ARTIFACTS_MISSING = "artifacts-missing"
    COMMAND_ID_REUSED = "command-id-reused"
    ALREADY_HELD = "already-held"
    NOT_HELD = "not-held"
    LIMIT_UNCHANGED = "limit-unchanged"
    WORKER_NOT_FOUND = "worker-not-found"
    DRAIN_UNCHANGED = "drain-unchanged"
    COUNT_DIFFERS = "count-differs"
    COUNT_NEEDED = "count-needed"
    TOO_MANY = "too-many"
    INVALID_SCHEDULE = "invalid-schedule"
    SCHEDULE_NOT_FOUND = "schedule-not-found"
    SCHEDULE_UNCHANGED = "schedule-unchanged"
    NOT_QUEUED = "not-queued"
    PRIORITY_UNCHANGED = "priority-unchanged"
    UNAVAILABLE = "unavailable"


class Problem(ContractModel):
    """One thing that is wrong with a command, and where."""

    field: str
    """Dotted path, such as ``spec.strategy.parameters.fast``; empty when it is about the whole."""
    message: str


class FailureCode(StrEnum):
    """What ended an attempt or an operation."""

    ERROR = "error"
    """The engine or a team's code raised."""
    OUT_OF_MEMORY = "out-of-memory"
    """An allocation failed, in the machine's memory or the device's."""
    CHILD_DIED = "child-died"
    """The computing process ended without a word: killed by the system, native crash."""
    LEASE_LOST = "lease-lost"
    WORKER_LOST = "worker-lost"
    ATTEMPTS_EXHAUSTED = "attempts-exhausted"
    CHECKPOINT_DAMAGED = "checkpoint-damaged"
    FINGERPRINT_MISMATCH = "fingerprint-mismatch"
    INPUT_DAMAGED = "input-damaged"
    INVALID_INPUT = "invalid-input"


class Failure(ContractModel):
    """What went wrong, for a person: the words, where, and what to do."""

    code: FailureCode
    message: str
    error_type: str | None = None
    """Class of the exception, where there was one."""
    traceback_tail: str | None = None
    """The last lines of the traceback."""
    fix: str | None = None
    """What the reader can do about it."""
