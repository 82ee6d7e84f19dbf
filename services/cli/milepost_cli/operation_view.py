"""An operation as a person asks for it: from the orchestrator's document, or folded from its events.

Both ways give the same view; the log is never behind, the document is cheap for many operations at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from milepost_contracts import events
from milepost_contracts.lineage import Relation
from milepost_runtime.event_log import LogEntry
from milepost_runtime.history.archive import ended_as

from milepost_cli import reader
from milepost_cli.formatting import seconds_left

TERMINAL_STATUSES = frozenset({"completed", "cancelled", "failed"})
RESUMABLE_STATUSES = frozenset({"cancelled", "failed"})


@dataclass(frozen=True, slots=True)
class CheckpointView:
    """A checkpoint in few words."""

    checkpoint_id: str
    unit: int
    reason: str
    saved_at: datetime | None


@dataclass(frozen=True, slots=True)
class OperationView:
    """One operation. ``None`` means: not known yet."""

    operation_id: str
    kind: str = ""
    name: str | None = None
    status: str = "queued"
    waiting: str | None = None
    """Why it does not move, as far as that is known."""
    unit: int = 0
    total_units: int | None = None
    unit_name: str | None = None
    attempt: int = 0
    worker_id: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    checkpoint_id: str | None = None
    """Its newest checkpoint; before it has one, the checkpoint it was resumed from."""
    child_id: str | None = None
    """The operation that was resumed from it."""
    imported_from: str | None = None
    """The history file that it came from; it never runs here."""
    reason: str | None = None
    stop_at_unit: int | None = None
    """Where it was asked to stop."""
    units_per_second: float | None = None
    requested_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    failure: Mapping[str, object] | None = None
    results: tuple[Mapping[str, object], ...] = ()
    summary: Mapping[str, object] = field(default_factory=dict[str, object])
    checkpoint: CheckpointView | None = None
    """The newest checkpoint of its own."""
    environment_differences: tuple[str, ...] = ()
    """What was accepted as other than when a checkpoint was saved: equality is not promised."""
    relation: str | None = None
    """What it is to its parent: resume, fork or retry."""
    changes: tuple[Mapping[str, object], ...] = ()
    """What a fork has otherwise than its parent."""

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL_STATUSES

    @property
    def is_resumable(self) -> bool:
        """Whether ``milepost resume`` makes sense."""
        return self.status in RESUMABLE_STATUSES and self.child_id is None

    @property
    def eta_seconds(self) -> float | None:
        """Time left at the present rate, up to where it is to stop."""
        running = self.status in ("running", "cancelling")
        goal = min((each for each in (self.total_units, self.stop_at_unit) if each), default=None)
        return seconds_left(self.unit, goal, self.units_per_second) if running else None

    @property
    def failure_words(self) -> str | None:
        """What went wrong, in one line."""
        return reader.text(self.failure, "message") if self.failure else None

    def document(self) -> dict[str, object]:
        """Return the JSON form, with the same keys as the orchestrator's document."""
        document: dict[str, object] = {
            name: getattr(self, name)
            for name in self.__slots__
            if name not in ("waiting", "failure", "results", "summary", "checkpoint")
        }
        for name in ("requested_at", "started_at", "ended_at"):
            moment = getattr(self, name)
            document[name] = moment.isoformat() if moment else None
        document["eta_seconds"] = self.eta_seconds
        document["failure"] = dict(self.failure) if self.failure else None
        document["results"] = [dict(item) for item in self.results]
        document["changes"] = [dict(change) for change in self.changes]
        document["environment_differences"] = list(self.environment_differences)
        document["summary"] = dict(self.summary)
        return document


def checkpoint_view(document: Mapping[str, object]) -> CheckpointView:
    """Return the view of the orchestrator's document of a checkpoint."""
    return CheckpointView(
        checkpoint_id=reader.text(document, "checkpoint_id") or "",
        unit=reader.whole(document, "unit") or 0,
        reason=reader.text(document, "reason") or "",
        saved_at=reader.moment(document, "saved_at"),
    )


def view_of_document(document: Mapping[str, object]) -> OperationView:
    """Return the view of the orchestrator's document of an operation."""
    summary = OperationView(
        operation_id=reader.text(document, "operation_id") or "",
        kind=reader.text(document, "kind") or "",
        name=reader.text(document, "name"),
        status=reader.text(document, "status") or "",
        waiting=reader.text(reader.mapping(document, "waiting"), "message"),
        unit=reader.whole(document, "unit") or 0,
        total_units=reader.whole(document, "total_units"),
        unit_name=reader.text(document, "unit_name"),
        attempt=reader.whole(document, "attempt") or 0,
        worker_id=reader.text(document, "worker_id"),
        parent_id=reader.text(document, "parent_id"),
        root_id=reader.text(document, "root_id"),
        checkpoint_id=reader.text(document, "checkpoint_id"),
        child_id=reader.text(document, "child_id"),
        imported_from=reader.text(document, "imported_from"),
        reason=reader.text(document, "reason"),
        stop_at_unit=reader.whole(document, "stop_at_unit"),
        units_per_second=reader.number(document, "units_per_second"),
        requested_at=reader.moment(document, "requested_at"),
        started_at=reader.moment(document, "started_at"),
        ended_at=reader.moment(document, "ended_at"),
        failure=reader.mapping(document, "failure") or None,
        results=tuple(reader.objects(document, "results")),
        environment_differences=_accepted(document),
        relation=reader.text(document, "relation"),
        changes=tuple(reader.objects(document, "changes")),
    )
    return replace(summary, summary=reader.mapping(document, "summary"))


def _accepted(document: Mapping[str, object]) -> tuple[str, ...]:
    """From an operation's own key (folded from events), or of all its attempts (the orchestrator's document)."""
    sources = (document, *reader.objects(document, "attempts"))
    words = (word for source in sources for word in reader.texts(source, "environment_differences"))
    return tuple(dict.fromkeys(words))


def view_of_events(operation_id: str, entries: Iterable[LogEntry]) -> OperationView:
    """Return the view that an operation's events add up to."""
    view = OperationView(operation_id)
    for entry in entries:
        view = fold(view, entry)
    return view


def fold(view: OperationView, entry: LogEntry) -> OperationView:
    """Return the view after one more event; an event that changes nothing to be seen is passed over."""
    at = entry.envelope.time
    match entry.event:
        case events.Requested() as event:
            return _requested(view, event, at, entry.envelope.importedfrom)
        case events.CancelRequested(reason=reason, at_unit=at_unit):
            if view.is_terminal:
                return view  # a request that came after the end changes nothing
            stop = min((each for each in (view.stop_at_unit, at_unit) if each is not None), default=None)
            return replace(view, status="cancelling", reason=reason, stop_at_unit=stop)
        case events.Claimed(attempt=attempt, worker_id=worker_id):
            status = view.status if view.status == "cancelling" else "running"
            return replace(view, status=status, attempt=attempt, worker_id=worker_id, units_per_second=None)
        case events.Started() as event:
            return replace(
                view,
                unit=event.unit,
                total_units=event.total_units,
                unit_name=event.unit_name,
                started_at=view.started_at or at,
                environment_differences=tuple(
                    dict.fromkeys((*view.environment_differences, *event.environment_differences))
                ),
            )
        case events.Progress() as event:
            return replace(
                view, unit=event.unit, total_units=event.total_units, units_per_second=event.units_per_second
            )
        case events.StateSnapshot() as event:
            found = CheckpointView(event.checkpoint_id, event.unit, event.reason.value, at)
            return replace(
                view,
                checkpoint=found,
                checkpoint_id=event.checkpoint_id,
                unit=max(view.unit, event.unit),
                total_units=event.total_units,
            )
        case events.Cancelled() | events.Completed() | events.Failed():
            return _ended(view, entry)
        case events.Released() | events.AttemptLost():
            return replace(view, status="queued", worker_id=None, units_per_second=None)
        case events.Resumed(child_id=child_id, relation=relation):
            return view if relation is Relation.FORK else replace(view, child_id=child_id)
        case (
            events.CheckpointRecorded()
            | events.CheckpointRefused()
            | events.CheckpointRequested()
            | events.Prioritized()
            | events.CheckpointPinned()
            | events.CheckpointUnpinned()
            | events.CheckpointDeleted()
            | events.CheckpointContinued()
        ):
            return view
        case events.Archived():  # without the store's settings there is nothing before it
            end = ended_as(entry) if view.ended_at is None else None
            return view if end is None else _ended(view, end)


def _requested(
    view: OperationView, event: events.Requested, at: datetime, imported_from: str | None
) -> OperationView:
    origin = event.origin
    return replace(
        view,
        kind=event.kind,
        name=event.name,
        parent_id=event.parent_id,
        root_id=event.root_id,
        imported_from=imported_from,
        relation=_relation(event),
        changes=tuple(change.model_dump(mode="json") for change in event.changes),
        stop_at_unit=event.options.stop_at_unit,
        checkpoint_id=origin.checkpoint_id if origin else None,
        unit=origin.unit if origin else 0,
        requested_at=at,
    )


def _relation(event: events.Requested) -> str | None:
    if event.parent_id is None:
        return None
    return (event.relation or Relation.RESUME).value


def _ended(view: OperationView, entry: LogEntry) -> OperationView:
    ended = replace(view, ended_at=entry.envelope.time, units_per_second=None)
    match entry.event:
        case events.Cancelled(unit=unit, reason=reason, checkpoint_id=checkpoint_id):
            return replace(
                ended,
                status="cancelled",
                unit=unit,
                reason=reason,
                checkpoint_id=checkpoint_id or view.checkpoint_id,
            )
        case events.Completed(unit=unit, artifacts=artifacts, summary=summary):
            results = tuple(artifact.model_dump(mode="json") for artifact in artifacts)
            return replace(ended, status="completed", unit=unit, results=results, summary=summary)
        case events.Failed(unit=unit, failure=failure, checkpoint_id=checkpoint_id):
            return replace(
                ended,
                status="failed",
                unit=unit,
                failure=failure.model_dump(mode="json"),
                reason=failure.message,
                checkpoint_id=checkpoint_id or view.checkpoint_id,
            )
        case _:
            return view
