"""From log entries to row changes: the domain's fold, and the rows of whatever it touched."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from milepost_contracts.events import (
    CheckpointDeleted,
    CheckpointPinned,
    CheckpointRecorded,
    CheckpointRefused,
    CheckpointUnpinned,
    Progress,
    StateSnapshot,
)
from milepost_runtime.event_log import BatchEntry, LogEntry, ProgressEntry, UnreadableEntry
from milepost_runtime.stored_events import read_entry

from milepost_orchestrator.application.operations import recorded
from milepost_orchestrator.application.restored import NOTHING_RESTORED, Restored
from milepost_orchestrator.application.row_making import (
    artifact_rows,
    attempt_row,
    checkpoint_row,
    constants_of,
    event_row,
    metric_rows,
    metric_rows_of,
    operation_row,
    quarantine_row,
)
from milepost_orchestrator.application.rows import (
    ArtifactRow,
    AttemptRow,
    CheckpointRow,
    EventRow,
    MetricRow,
    OperationRow,
    QuarantineRow,
)
from milepost_orchestrator.application.state_cache import Known, StateCache
from milepost_orchestrator.application.storable import check_storable, is_storable_progress
from milepost_orchestrator.application.waymarks import Waymark
from milepost_orchestrator.domain.evolution import evolve, evolve_progress
from milepost_orchestrator.domain.operation import CheckpointStatus, Facts, Operation

NONE_ARCHIVED: Mapping[int, Operation | None] = {}
NONE_LOST: Mapping[str, str] = {}
_ABOUT_A_CHECKPOINT = (
    StateSnapshot,
    CheckpointRecorded,
    CheckpointRefused,
    CheckpointPinned,
    CheckpointUnpinned,
    CheckpointDeleted,
)


@dataclass(slots=True)
class Changes:
    """Rows to write for one batch of entries; the same rows however often they are made."""

    first_sequence: int
    last_sequence: int
    entries: int = 0
    operations: list[OperationRow] = field(default_factory=list[OperationRow])
    attempts: list[AttemptRow] = field(default_factory=list[AttemptRow])
    checkpoints: list[CheckpointRow] = field(default_factory=list[CheckpointRow])
    artifacts: list[ArtifactRow] = field(default_factory=list[ArtifactRow])
    metrics: list[MetricRow] = field(default_factory=list[MetricRow])
    events: list[EventRow] = field(default_factory=list[EventRow])
    quarantine: list[QuarantineRow] = field(default_factory=list[QuarantineRow])
    deleted_checkpoints: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Operation and checkpoint ids whose rows go, with those of their artifacts."""
    waymarks: list[Waymark] = field(default_factory=list[Waymark])
    """No read model: they may be left out, and differ with the batches."""


def project(
    cache: StateCache,
    entries: Iterable[BatchEntry],
    *,
    archived: Mapping[int, Operation | None] = NONE_ARCHIVED,
    restored: Restored = NOTHING_RESTORED,
    lost: Mapping[str, str] = NONE_LOST,
) -> Changes:
    """Fold ``entries`` into the cache and return the rows of all that they touched.

    The cache must hold the state of every operation that an entry belongs to and that did not begin here. What
    cannot be read or folded is set aside: it becomes a row of the quarantine and changes nothing else.

    ``archived`` has the state before each ``archived`` event, by its sequence: what led to it may be gone from the
    log. Entries that ``restored`` holds are passed over. ``lost`` says why the state before an operation's entries
    cannot be known; they are set aside.
    """
    batch: _Batch | None = None
    for entry in entries:
        if batch is None:
            batch = _Batch(cache, entry.sequence, archived, restored, lost)
        batch.take(entry)
    if batch is None:
        raise ValueError("a batch is never empty")
    return batch.finish()


class _Batch:
    """One batch on its way into rows.

    Of an operation's progress only the last before another of its events is folded: each one replaces what the one
    before it said, so the state is the same.
    """

    def __init__(
        self,
        cache: StateCache,
        first_sequence: int,
        archived: Mapping[int, Operation | None],
        restored: Restored,
        lost: Mapping[str, str],
    ) -> None:
        self._archived = archived
        self._restored = restored
        self._lost = lost
        self._cache = cache
        self._changes = Changes(first_sequence, first_sequence)
        self._touched: dict[str, Facts | None] = {}
        """As they were before the batch."""
        self._checkpoints: dict[str, set[str]] = {}
        self._progress: dict[str, ProgressEntry] = {}
        """Not folded yet."""

    def take(self, entry: BatchEntry) -> None:
        """Fold the next entry."""
        changes = self._changes
        changes.last_sequence = entry.sequence
        changes.entries += 1
        if self._restored.holds(entry):
            return
        if entry.operation_id in self._lost:
            changes.quarantine.append(_set_aside(entry, self._lost[entry.operation_id]))
            return
        if isinstance(entry, ProgressEntry):
            if is_storable_progress(entry):
                changes.metrics += metric_rows_of(entry)
                self._progress[entry.operation_id] = entry
                self._count(entry)
                return
            entry = read_entry(entry.stored)  # which says what is wrong with it
        if isinstance(entry, UnreadableEntry):
            changes.quarantine.append(quarantine_row(entry, entry.error))
            self._set_aside(entry)
            return
        self._settle_progress(entry.operation_id)
        try:
            self._fold(entry)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one event must not stop all the others
            changes.quarantine.append(quarantine_row(entry, f"{type(error).__name__}: {error}"))
            self._set_aside(entry)
        else:
            self._count(entry)

    def finish(self) -> Changes:
        """Return the rows."""
        for operation_id in list(self._progress):
            self._settle_progress(operation_id)
        for operation_id, before in self._touched.items():
            checkpoint_ids = self._checkpoints.get(operation_id, set())
            known = self._cache.get(operation_id)
            self._cache.weigh(operation_id, known)
            _add_rows(self._changes, known, before, checkpoint_ids)
        return self._changes

    def _count(self, entry: BatchEntry) -> None:
        """Count an event that is in the state, or will be; make a waymark where one is due."""
        known = self._cache.get(entry.operation_id)
        if known.count.take(entry) and known.state is not None:
            self._settle_progress(entry.operation_id)
            waymark = known.count.waymark(entry, known.state)
            if waymark is not None:
                self._changes.waymarks.append(waymark)

    def _set_aside(self, entry: BatchEntry) -> None:
        """An event is not in the state; of an operation that is not known this is found out when it is folded."""
        if entry.operation_id in self._cache:
            self._cache.get(entry.operation_id).count.is_whole = False

    def _fold(self, entry: LogEntry) -> None:
        check_storable(entry)
        event = entry.event
        known = self._cache.get(entry.operation_id)
        if entry.sequence in self._archived:
            known.state = self._archived[entry.sequence]
            known.count.is_whole = False  # its events were not counted
            self._touch(entry.operation_id, known)
        state = evolve(known.state, recorded(entry))
        if isinstance(event, Progress):
            self._changes.metrics += metric_rows(entry, event)
        else:
            self._changes.events.append(event_row(entry))
        self._touch(entry.operation_id, known)
        known.state = state
        if isinstance(event, _ABOUT_A_CHECKPOINT):
            self._checkpoints.setdefault(entry.operation_id, set()).add(event.checkpoint_id)

    def _settle_progress(self, operation_id: str) -> None:
        entry = self._progress.pop(operation_id, None)
        if entry is None:
            return
        known = self._cache.get(operation_id)
        self._touch(operation_id, known)
        if known.state is not None:
            known.state = evolve_progress(
                known.state,
                entry.sequence,
                entry.time,
                unit=entry.unit,
                total_units=entry.total_units,
                units_per_second=entry.units_per_second,
            )

    def _touch(self, operation_id: str, known: Known) -> None:
        if operation_id not in self._touched:
            self._touched[operation_id] = known.state.facts if known.state else None


def set_aside(entry: BatchEntry, error: str) -> Changes:
    """Return the changes of an event that was read and folded, and whose rows were refused."""
    return Changes(entry.sequence, entry.sequence, entries=1, quarantine=[_set_aside(entry, error)])


def _set_aside(entry: BatchEntry, error: str) -> QuarantineRow:
    return quarantine_row(read_entry(entry.stored) if isinstance(entry, ProgressEntry) else entry, error)


def _add_rows(changes: Changes, known: Known, before: Facts | None, checkpoint_ids: set[str]) -> None:
    state = known.state
    if state is None:
        return
    facts = state.facts
    if known.constants is None:
        known.constants = constants_of(facts)
    changes.operations.append(operation_row(state, known.constants))
    attempts_before = before.attempts if before is not None else {}
    for number, attempt in facts.attempts.items():
        if attempts_before.get(number) is not attempt:
            changes.attempts.append(attempt_row(facts.operation_id, attempt))
    if before is not None and before.unit_name != facts.unit_name:
        checkpoint_ids = set(facts.checkpoints)  # which all say it
    for checkpoint_id in sorted(checkpoint_ids & facts.checkpoints.keys()):
        checkpoint = facts.checkpoints[checkpoint_id]
        if checkpoint.status is CheckpointStatus.DELETED:
            changes.deleted_checkpoints.append((facts.operation_id, checkpoint_id))
            continue
        changes.checkpoints.append(checkpoint_row(facts, checkpoint))
        changes.artifacts.extend(artifact_rows(facts.operation_id, checkpoint))
