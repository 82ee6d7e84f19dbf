"""Why an operation that has not ended does not move, as far as the fleet tells."""

from collections.abc import Mapping, Sequence
from typing import Any

from milepost_contracts.dispatch import DispatchPolicy
from milepost_contracts.fleet import WorkerHeartbeat

from milepost_orchestrator.application.documents import Document
from milepost_orchestrator.domain.dispatch import held_words
from milepost_orchestrator.domain.operation import Status


def waiting_document(operation: Mapping[str, Any], workers: Sequence[WorkerHeartbeat]) -> Document | None:
    """Return what an operation waits for, by code and in words; None when it moves, or has ended."""
    match operation["status"]:
        case Status.QUEUED:
            code, message = _queued(operation["kind"], workers)
        case Status.RUNNING | Status.CANCELLING:
            owner = operation["worker_id"]
            if owner is None or any(worker.worker_id == owner for worker in workers):
                return None
            code = "worker-silent"
            message = f"worker {owner} is not heard of; another one goes on when its lease has ended"
        case _:
            return None
    return {"code": code, "message": message}


def gated_document(kind: str, policy: DispatchPolicy, workers: Sequence[WorkerHeartbeat]) -> Document | None:
    """Return why a kind is not given to workers: it is held, or as many as may are at them; None when it is."""
    hold = policy.hold_on(kind)
    if hold is not None:
        return {"code": "held", "message": held_words(hold)}
    limit = policy.limits.get(kind)
    running = sum(len(worker.operations) for worker in workers if worker.kind == kind)
    if limit is not None and running >= limit:
        return {"code": "limited", "message": f"{running} of kind {kind} run, and no more than {limit} may"}
    return None


def _queued(kind: str, workers: Sequence[WorkerHeartbeat]) -> tuple[str, str]:
    able = [worker for worker in workers if worker.kind == kind]
    if not able:
        return "no-worker", f"no worker of kind {kind} is alive; start one with `milepost worker {kind}`"
    slots = sum(worker.slots for worker in able)
    if sum(len(worker.operations) for worker in able) >= slots:
        return "workers-busy", f"all {slots} slots of kind {kind} are taken"
    return "unclaimed", f"a worker of kind {kind} is about to claim it"
