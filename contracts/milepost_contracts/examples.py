"""One valid example of every message, for documents, for tests, and to send by hand.

They tell one story: a backtest is started, claimed, cancelled at bar 5000 and resumed.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from milepost_contracts.artifacts import ArtifactReference, manifest_key
from milepost_contracts.checkpoints import (
    CheckpointOrigin,
    CheckpointPolicySpec,
    CheckpointReason,
    Manifest,
)
from milepost_contracts.cleanup import CleanedUp, CleanUpCheckpoints, CleanupEntry, KeepBest, KeptBecause
from milepost_contracts.commands import (
    CancelOperation,
    CheckpointNow,
    Command,
    DeleteCheckpoint,
    DrainWorker,
    ForkOperation,
    HoldDispatch,
    LimitKind,
    PinCheckpoint,
    PrioritizeOperation,
    ReleaseDispatch,
    ResumeOperation,
    RetryOperation,
    RunOptions,
    StartOperation,
    UndrainWorker,
    UnpinCheckpoint,
)
from milepost_contracts.datasets import Dataset, DatasetReference
from milepost_contracts.envelope import Envelope
from milepost_contracts.events import (
    Archived,
    AttemptLost,
    Cancelled,
    CancelRequested,
    CheckpointContinued,
    CheckpointDeleted,
    CheckpointPinned,
    CheckpointRecorded,
    CheckpointRefused,
    CheckpointRequested,
    CheckpointUnpinned,
    Claimed,
    Completed,
    Event,
    Failed,
    Prioritized,
    Progress,
    Released,
    Requested,
    Resumed,
    Started,
    StateSnapshot,
)
from milepost_contracts.failures import Failure, FailureCode, Problem, RejectionCode
from milepost_contracts.fleet import WorkerHeartbeat
from milepost_contracts.ids import checkpoint_id_of, event_id_of, operation_id_of, schedule_id_of
from milepost_contracts.kinds import KindDescription
from milepost_contracts.messages import envelop_command, envelop_event
from milepost_contracts.schedules import (
    CreateSchedule,
    DeleteSchedule,
    PauseSchedule,
    Timing,
    UnpauseSchedule,
)
from milepost_contracts.specs.backtest import BacktestSpec, StrategySpec
from milepost_contracts.specs.training import TrainingSpec
from milepost_contracts.verdicts import Accepted, Duplicate, Rejected, Verdict

_TIME = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
_START_ID, _CANCEL_ID, _RESUME_ID = "cmd-start-1", "cmd-cancel-1", "cmd-resume-1"
_OPERATION = operation_id_of(_START_ID)
_CHILD = operation_id_of(_RESUME_ID)
_CHECKPOINT = checkpoint_id_of(_OPERATION, 1, 1)
_SCHEDULE = schedule_id_of("cmd-schedule-1")
_WORKER, _SIZE_BYTES = "w-1", 48_213
_FINGERPRINT = {"code": "milepost-backtester 0.1.0", "data": "sha256:" + "1" * 64}
_PARQUET = "application/vnd.apache.parquet"

_STATE = ArtifactReference(
    name="state.json", digest="sha256:" + "a" * 64, size_bytes=_SIZE_BYTES, media_type="application/json"
)
_TRADES = ArtifactReference(
    name="trades.parquet", digest="sha256:" + "b" * 64, size_bytes=9120, media_type=_PARQUET
)
_BARS = ArtifactReference(
    name="spy.parquet", digest="sha256:" + "1" * 64, size_bytes=412_000, media_type=_PARQUET
)

BACKTEST_SPEC = BacktestSpec(
    data=DatasetReference(name="spy", digest=_BARS.digest),
    strategy=StrategySpec(name="sma-cross", parameters={"fast": 10, "slow": 30}),
)
"""A backtest of the built-in strategy."""
TRAINING_SPEC = TrainingSpec(data=DatasetReference(name="spy"), epochs=100)
"""A training of the default model."""

_OPTIONS = RunOptions(checkpoint=CheckpointPolicySpec(every_units=10_000))
_ORIGIN = CheckpointOrigin(
    operation_id=_OPERATION,
    checkpoint_id=_CHECKPOINT,
    unit=5000,
    artifacts=(_STATE, _TRADES),
    fingerprint=_FINGERPRINT,
)
_REQUESTED = Requested(
    kind="backtest",
    name="SMA on SPY",
    spec=BACKTEST_SPEC.model_dump(mode="json"),
    inputs=(_BARS,),
    options=_OPTIONS,
    root_id=_OPERATION,
    requested_by="/cli",
)
_CHILD_REQUESTED = _REQUESTED.model_copy(
    update={"parent_id": _OPERATION, "options": RunOptions(), "origin": _ORIGIN}
)
_LOST = Failure(
    code=FailureCode.CHILD_DIED,
    message="the computing process was killed by signal 9",
    fix="give the machine more memory, or the worker fewer slots",
)
_ERROR = Failure(
    code=FailureCode.ERROR,
    message="division by zero",
    error_type="ZeroDivisionError",
    traceback_tail="  File 'strategy.py', line 12, in on_bar",
    fix="correct the strategy, then resume",
)


def _command(command: Command, command_id: str) -> Envelope:
    return envelop_command(command, command_id=command_id, source="/cli", time=_TIME)


def _event(event: Event, number: int) -> Envelope:
    source = f"/worker/{_WORKER}" if event.SIDE == "run" else "/orchestrator/o-1"
    return envelop_event(
        event,
        event_id=event_id_of(_OPERATION, "example", number, event.NAME),
        operation_id=_OPERATION,
        source=source,
        time=_TIME + timedelta(seconds=number),
        correlation_id=_OPERATION,
        causation_id=_START_ID,
    )


COMMAND_EXAMPLES: Mapping[str, Envelope] = {
    "start": _command(
        StartOperation(
            kind="backtest",
            spec={"data": {"name": "spy"}, "strategy": {"name": "sma-cross", "parameters": {"fast": 10}}},
            name="SMA on SPY",
            options=_OPTIONS,
        ),
        _START_ID,
    ),
    "cancel": _command(
        CancelOperation(operation_id=_OPERATION, reason="wrong data", at_unit=5000), _CANCEL_ID
    ),
    "resume": _command(ResumeOperation(operation_id=_OPERATION, checkpoint_id=_CHECKPOINT), _RESUME_ID),
    "fork": _command(
        ForkOperation(operation_id=_OPERATION, checkpoint_id=_CHECKPOINT, changes={"commission_rate": 0.002}),
        "cmd-fork-1",
    ),
    "retry": _command(RetryOperation(operation_id=_OPERATION), "cmd-retry-1"),
    "checkpoint-now": _command(
        CheckpointNow(operation_id=_OPERATION, reason="before the machine moves"), "cmd-checkpoint-1"
    ),
    "prioritize": _command(
        PrioritizeOperation(operation_id=_OPERATION, priority=10, reason="the paper is due"),
        "cmd-prioritize-1",
    ),
    "pin-checkpoint": _command(
        PinCheckpoint(operation_id=_OPERATION, checkpoint_id=_CHECKPOINT, reason="for the paper"), "cmd-pin-1"
    ),
    "unpin-checkpoint": _command(
        UnpinCheckpoint(operation_id=_OPERATION, checkpoint_id=_CHECKPOINT), "cmd-unpin-1"
    ),
    "delete-checkpoint": _command(
        DeleteCheckpoint(operation_id=_OPERATION, checkpoint_id=_CHECKPOINT, reason="too many"),
        "cmd-delete-1",
    ),
    "hold": _command(HoldDispatch(kind="training", reason="the machine moves"), "cmd-hold-1"),
    "release": _command(ReleaseDispatch(kind="training"), "cmd-release-1"),
    "schedule": _command(
        CreateSchedule(
            timing=Timing(cron="0 3 * * 1-5", time_zone="Europe/Berlin"),
            start=StartOperation(kind="training", spec={"data": {"name": "spy"}}),
            name="nightly",
        ),
        "cmd-schedule-1",
    ),
    "pause-schedule": _command(PauseSchedule(schedule_id=_SCHEDULE, reason="holidays"), "cmd-pause-1"),
    "unpause-schedule": _command(UnpauseSchedule(schedule_id=_SCHEDULE), "cmd-unpause-1"),
    "delete-schedule": _command(DeleteSchedule(schedule_id=_SCHEDULE), "cmd-unschedule-1"),
    "limit": _command(LimitKind(kind="training", limit=2, reason="one GPU is broken"), "cmd-limit-1"),
    "drain": _command(DrainWorker(worker_id=_WORKER, release=True, reason="new disks"), "cmd-drain-1"),
    "undrain": _command(UndrainWorker(worker_id=_WORKER), "cmd-undrain-1"),
    "cleanup": _command(
        CleanUpCheckpoints(
            older_than_seconds=30 * 86_400,
            keep_newest=2,
            keep_best=KeepBest(metric="equity"),
            reason="monthly",
        ),
        "cmd-cleanup-1",
    ),
}
"""Envelopes by the command's name on the bus."""

_EVENTS: tuple[Event, ...] = (
    _REQUESTED,
    Claimed(attempt=1, worker_id=_WORKER, host="db-7", pid=4711, lease_seconds=10.0),
    Started(attempt=1, unit=0, total_units=10_000, unit_name="bar", fingerprint=_FINGERPRINT),
    Progress(attempt=1, unit=2500, total_units=10_000, units_per_second=812.5, metrics={"equity": 100_250.5}),
    CancelRequested(reason="wrong data", at_unit=5000, requested_by="/cli"),
    Prioritized(priority=10, before=0, reason="the paper is due", requested_by="/cli"),
    StateSnapshot(
        attempt=1,
        checkpoint_id=_CHECKPOINT,
        unit=5000,
        total_units=10_000,
        reason=CheckpointReason.CANCELLATION,
        artifacts=(_STATE, _TRADES),
        fingerprint=_FINGERPRINT,
        summary={"equity": 100_250.5},
    ),
    Cancelled(attempt=1, unit=5000, checkpoint_id=_CHECKPOINT, reason="wrong data"),
    CheckpointRecorded(
        checkpoint_id=_CHECKPOINT,
        manifest_key=manifest_key(_OPERATION, _CHECKPOINT),
        manifest_digest="sha256:" + "c" * 64,
        size_bytes=_SIZE_BYTES + _TRADES.size_bytes,
    ),
    CheckpointRefused(
        checkpoint_id=checkpoint_id_of(_OPERATION, 1, 2),
        message="1 artifact is damaged",
        artifacts=(Problem(field="state.json", message="the bytes do not match the digest"),),
    ),
    CheckpointRequested(reason="before the machine moves", requested_by="/cli"),
    CheckpointPinned(checkpoint_id=_CHECKPOINT, reason="for the paper", requested_by="/cli"),
    CheckpointUnpinned(checkpoint_id=_CHECKPOINT, requested_by="/cli"),
    CheckpointDeleted(
        checkpoint_id=_CHECKPOINT,
        manifest_key=manifest_key(_OPERATION, _CHECKPOINT),
        size_bytes=_SIZE_BYTES + _TRADES.size_bytes,
        reason="too many",
        requested_by="/http",
    ),
    CheckpointContinued(
        checkpoint_id=_CHECKPOINT,
        parent_id=_CHILD,
        child_id=operation_id_of("cmd-resume-2"),
        requested_by="/http",
    ),
    Resumed(child_id=_CHILD, checkpoint_id=_CHECKPOINT, child=_CHILD_REQUESTED, requested_by="/http"),
    Archived(
        history_key=f"archive/{_OPERATION}/000000004711.jsonl.gz",
        history_digest=_TRADES.digest,
        size_bytes=5120,
        events=312,
        last_sequence=4711,
        end=_event(Cancelled(attempt=1, unit=5000, checkpoint_id=_CHECKPOINT), 0).model_copy(
            update={"sequence": "4711"}
        ),
        requested_by="/cli",
    ),
    Completed(attempt=1, unit=10_000, artifacts=(_TRADES,), summary={"trades": 41, "return": 0.183}),
    Failed(attempt=1, unit=5000, failure=_ERROR, checkpoint_id=_CHECKPOINT),
    Released(attempt=1, unit=5000, checkpoint_id=_CHECKPOINT, reason="the worker shuts down"),
    AttemptLost(attempt=1, failure=_LOST),
)
EVENT_EXAMPLES: Mapping[str, Envelope] = {
    event.type_name(): _event(event, number) for number, event in enumerate(_EVENTS, start=1)
}
"""Envelopes by CloudEvents type."""

VERDICT_EXAMPLES: Mapping[str, Verdict] = {
    "accepted": Accepted(
        command_id=_RESUME_ID,
        operation_id=_CHILD,
        parent_id=_OPERATION,
        checkpoint_id=_CHECKPOINT,
        unit=5000,
    ),
    "duplicate": Duplicate(command_id=_START_ID, operation_id=_OPERATION),
    "rejected": Rejected(
        command_id="cmd-start-2",
        code=RejectionCode.INVALID_SPEC,
        message="the spec has 1 problem",
        fix="correct the fields named, then start again",
        problems=(Problem(field="spec.strategy.parameters.fast", message="must be smaller than slow"),),
    ),
}
"""Verdicts by their ``verdict``."""

MANIFEST_EXAMPLE = Manifest(
    operation_id=_OPERATION,
    checkpoint_id=_CHECKPOINT,
    kind="backtest",
    attempt=1,
    unit=5000,
    total_units=10_000,
    reason=CheckpointReason.CANCELLATION,
    saved_at=_TIME + timedelta(seconds=6),
    artifacts=(_STATE, _TRADES),
    fingerprint=_FINGERPRINT,
    summary={"equity": 100_250.5},
)
"""The manifest of the story's checkpoint."""

DATASET_EXAMPLE = Dataset(
    name="spy",
    artifact=_BARS,
    rows=10_000,
    first=datetime(1993, 1, 29, tzinfo=UTC),
    last=datetime(2026, 11, 20, tzinfo=UTC),
    added_at=_TIME,
    source="daily bars from the exchange",
)
"""The catalogue entry of the story's bars."""

HEARTBEAT_EXAMPLE = WorkerHeartbeat(
    worker_id=_WORKER,
    kind="backtest",
    host="db-7",
    pid=4711,
    slots=1,
    device="cpu",
    version="0.1.0",
    operations=(_OPERATION,),
    started_at=_TIME,
    seen_at=_TIME + timedelta(seconds=3),
)
"""The worker that computes it."""

KIND_EXAMPLE = KindDescription(
    kind="backtest",
    unit_name="bar",
    spec_schema=BacktestSpec.model_json_schema(),
    parts={"strategy": {"sma-cross": {"type": "object"}}},
    dataset_fields=("data",),
    example=BACKTEST_SPEC.model_dump(mode="json"),
)
"""What the worker announces."""

CLEANUP_EXAMPLE = CleanedUp(
    command_id="cmd-cleanup-1",
    deleted=(
        CleanupEntry(
            operation_id=_OPERATION,
            checkpoint_id=_CHECKPOINT,
            kind="backtest",
            unit=5000,
            saved_at=_TIME,
            size_bytes=_SIZE_BYTES,
            message="older than 30 days; not among the 2 newest",
        ),
    ),
    skipped=(
        CleanupEntry(
            operation_id=_CHILD,
            checkpoint_id=checkpoint_id_of(_CHILD, 1, 1),
            kind="backtest",
            unit=7500,
            saved_at=_TIME,
            size_bytes=_SIZE_BYTES,
            kept=KeptBecause.PINNED,
            message="it is pinned",
        ),
    ),
)
"""What came of a cleanup."""
