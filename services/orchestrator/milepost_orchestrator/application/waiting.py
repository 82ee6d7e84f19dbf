"""Why an operation that has not ended does not move, as far as the fleet and the log tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from milepost_contracts.capabilities import Needs, lacking, needs_words
from milepost_contracts.dispatch import DispatchPolicy
from milepost_contracts.fleet import WorkerHeartbeat

from milepost_orchestrator.application.documents import Document
from milepost_orchestrator.domain.operation import Status
from milepost_orchestrator.domain.rejections import listed


@dataclass(frozen=True, slots=True)
class Quiet:
    """What is known of an operation that a worker should be at."""

    now: datetime
    owner_seen_at: datetime | None
    """When its worker was last heard of; None when nobody remembers."""
    moved_at: datetime | None
    """When its worker last wrote an event about it."""
    stall_seconds: float
    """How long it may go without one before it counts as stalled."""


def waiting_document(
    operation: Mapping[str, Any], workers: Sequence[WorkerHeartbeat], quiet: Quiet
) -> Document | None:
    """Return what an operation waits for, by code and in words; None when it moves, or has ended."""
    needs = needs_of(operation)
    match operation["status"]:
        case Status.QUEUED:
            code, message = _queued(operation["kind"], needs, workers)
        case Status.RUNNING | Status.CANCELLING:
            found = _owned(operation, needs, workers, quiet)
            if found is None:
                return None
            code, message = found
        case _:
            return None
    return {"code": code, "message": message}


def gated_document(kind: str, policy: DispatchPolicy, workers: Sequence[WorkerHeartbeat]) -> Document | None:
    """Return why a kind is not given to workers: it is held, or as many as may are at them; None when it is."""
    held = policy.held_words(kind)
    if held is not None:
        return {"code": "held", "message": held}
    limit = policy.limits.get(kind)
    running = sum(len(worker.operations) for worker in workers if worker.kind == kind)
    if limit is not None and running >= limit:
        return {"code": "limited", "message": f"{running} of kind {kind} run, and no more than {limit} may"}
    return None


def needs_of(operation: Mapping[str, Any]) -> Needs | None:
    """Return what the operation was asked to need; its options are JSON."""
    needs = operation["options"].get("needs")
    return None if needs is None else Needs.model_validate(needs)


def _owned(
    operation: Mapping[str, Any], needs: Needs | None, workers: Sequence[WorkerHeartbeat], quiet: Quiet
) -> tuple[str, str] | None:
    owner = operation["worker_id"]
    if owner is None:
        return None if operation["status"] == Status.RUNNING else _unowned_cancel()
    if not any(worker.worker_id == owner for worker in workers):
        since = "" if quiet.owner_seen_at is None else f" {_ago(quiet.now - quiet.owner_seen_at)}"
        words = f"worker {owner} was lost{since}" if since else f"worker {owner} is not heard of"
        able = [each for each in workers if each.kind == operation["kind"] and not _lacks(needs, each)]
        if able:
            return "worker-silent", f"{words}; another one goes on when its lease has ended"
        return "worker-silent", f"{words}, and {_queued(operation['kind'], needs, workers)[1]}"
    if quiet.moved_at is not None and quiet.now - quiet.moved_at > timedelta(seconds=quiet.stall_seconds):
        return "stalled", (
            f"worker {owner} is alive, and the last progress was {_ago(quiet.now - quiet.moved_at)};"
            f" cancel it to save what it has, or look at the worker's log"
        )
    return None


def _unowned_cancel() -> tuple[str, str]:
    return "unowned", "nobody computes it; it is ended from its newest checkpoint within seconds"


def _queued(kind: str, needs: Needs | None, workers: Sequence[WorkerHeartbeat]) -> tuple[str, str]:
    of_kind = [worker for worker in workers if worker.kind == kind]
    if not of_kind:
        return "no-worker", f"no worker of kind {kind} is alive; start one with `milepost worker {kind}`"
    able = [worker for worker in of_kind if not _lacks(needs, worker)]
    with_what = f" with {needs_words(needs)}" if needs is not None and needs != Needs() else ""
    if not able:
        alive = f"{len(of_kind)} of kind {kind} {'is' if len(of_kind) == 1 else 'are'} alive, none{with_what}"
        return "no-capable-worker", f"waiting for a worker{with_what}: {alive}"
    taking = [worker for worker in able if worker.drain is None]
    if not taking:
        named = listed([worker.worker_id for worker in able])
        return "workers-drained", f"every worker of kind {kind}{with_what} is drained: {named}"
    slots = sum(worker.slots for worker in taking)
    if sum(len(worker.operations) for worker in taking) >= slots:
        return "workers-busy", f"all {slots} slots of kind {kind}{with_what} are taken"
    return "unclaimed", f"a worker of kind {kind}{with_what} is about to claim it"


def _lacks(needs: Needs | None, worker: WorkerHeartbeat) -> bool:
    return bool(lacking(needs, worker.capabilities))


def _ago(span: timedelta) -> str:
    seconds = max(int(span.total_seconds()), 0)
    if seconds < 120:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 7200 else f"{seconds // 3600} h ago"
