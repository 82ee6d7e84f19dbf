"""Claim an operation: read its log, decide, append ``claimed`` at the expected sequence.

Authority: the log. The newest run sequence is read *before* the events: whatever is written after that first
look makes the append conflict, so a claim can never stand on a view that missed an event.
"""

import asyncio
import os
import socket
from dataclasses import dataclass, replace

import structlog
from milepost_contracts.capabilities import lacking
from milepost_contracts.events import Claimed, Failed, Progress, Requested, Side
from milepost_contracts.failures import Failure, FailureCode

from milepost_runtime.clock import Clock
from milepost_runtime.event_log import EventLog
from milepost_runtime.signals import Signals
from milepost_runtime.work_queue import WorkItem
from milepost_runtime.worker.claiming import (
    AlreadyEnded,
    AskOwner,
    Claim,
    Exhausted,
    NotRequested,
    claim_or_exhausted,
    decide_claim,
)
from milepost_runtime.worker.letting_go import let_go
from milepost_runtime.worker.patience import patiently
from milepost_runtime.worker.run_log import FencedError, RunLog
from milepost_runtime.worker.run_view import RunView, fold
from milepost_runtime.worker.settings import WorkerSettings

log = structlog.get_logger()
ASK_SECONDS = 0.5
UNABLE_SECONDS_MAX = 5.0
"""Work that this worker may not have comes to another after at most so long."""


@dataclass(frozen=True, slots=True)
class ClaimedOperation:
    """An operation that this worker has just claimed."""

    operation_id: str
    attempt: int
    request: Requested
    view: RunView
    item: WorkItem
    run_log: RunLog


class Claimer:
    """Claims operations for one worker host."""

    def __init__(
        self,
        event_log: EventLog,
        signals: Signals,
        clock: Clock,
        settings: WorkerSettings,
        *,
        instance_id: str,
    ) -> None:
        self._event_log = event_log
        self._signals = signals
        self._clock = clock
        self._settings = settings
        self._instance_id = instance_id

    async def claim(self, item: WorkItem) -> ClaimedOperation | None:
        """Claim the operation of a work message, or do with the message what its state asks for."""
        operation_id = item.key.operation_id
        view = await self._view(operation_id)
        decision = decide_claim(view)
        if isinstance(decision, Claim | AskOwner) and (lacks := self._lacks(view)):
            log.debug("not for this worker", operation_id=operation_id, lacks=lacks)
            delay_seconds = min(0.5 * item.deliveries, UNABLE_SECONDS_MAX)
            await let_go(item.give_back(delay_seconds=delay_seconds), operation_id)
            return None
        if isinstance(decision, AskOwner):
            if await self._owner_answers(operation_id):
                log.info("owner is alive", operation_id=operation_id)
                await self._give_back(item)
                return None
            decision = claim_or_exhausted(view)
        match decision:
            case Claim():
                return await self._append_claim(item, view, decision.attempt)
            case Exhausted():
                await self._fail_exhausted(item, view, decision)
            case AlreadyEnded():
                await let_go(item.done(), operation_id)
            case NotRequested():
                log.error("work without a request", operation_id=operation_id)
                await self._give_back(item)
        return None

    def _lacks(self, view: RunView) -> tuple[str, ...]:
        return (
            () if view.request is None else lacking(view.request.options.needs, self._settings.capabilities)
        )

    async def _append_claim(self, item: WorkItem, view: RunView, attempt: int) -> ClaimedOperation | None:
        operation_id = item.key.operation_id
        if view.request is None:
            return None
        run_log = self._run_log(operation_id, view)
        try:
            await run_log.append(
                Claimed(
                    attempt=attempt,
                    worker_id=self._settings.worker_id,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    lease_seconds=self._settings.lease_seconds,
                )
            )
        except FencedError:
            log.info("claim lost", operation_id=operation_id, attempt=attempt)
            await self._give_back(item)
            return None
        log.info("claimed", operation_id=operation_id, attempt=attempt)
        return ClaimedOperation(
            operation_id=operation_id,
            attempt=attempt,
            request=view.request,
            view=view,
            item=item,
            run_log=run_log,
        )

    async def _fail_exhausted(self, item: WorkItem, view: RunView, decision: Exhausted) -> None:
        failure = Failure(
            code=FailureCode.ATTEMPTS_EXHAUSTED,
            message=f"{decision.attempts_lost} attempts were lost; the workers died or lost their leases",
            fix="look at the attempts with `milepost show`, then resume",
        )
        newest = view.candidates[0] if view.candidates else None
        try:
            await self._run_log(item.key.operation_id, view).append(
                Failed(
                    attempt=view.attempt,
                    unit=newest.unit if newest else 0,
                    failure=failure,
                    checkpoint_id=newest.checkpoint_id if newest else None,
                )
            )
        except FencedError:
            await self._give_back(item)
            return
        await let_go(item.done(), item.key.operation_id)

    async def _give_back(self, item: WorkItem) -> None:
        """Let it come again after a lease: whoever owns it now may be gone then."""
        await let_go(item.give_back(delay_seconds=self._settings.lease_seconds), item.key.operation_id)

    async def _view(self, operation_id: str) -> RunView:
        return await patiently(
            lambda: self._read_view(operation_id),
            what="read operation",
            clock=self._clock,
            patience_seconds=self._settings.outage_patience_seconds,
        )

    async def _read_view(self, operation_id: str) -> RunView:
        newest = await self._event_log.last_sequence(operation_id, Side.RUN)
        view = fold(await self._event_log.read_operation(operation_id, without=(Progress,)))
        # Progress is left out of the fold, but the next append must expect its sequence.
        return replace(view, run_sequence=max(newest, view.run_sequence))

    async def _owner_answers(self, operation_id: str) -> bool:
        deadline = self._clock.monotonic_seconds() + self._settings.takeover_patience_seconds
        while self._clock.monotonic_seconds() < deadline:
            asked_at = self._clock.monotonic_seconds()
            owner = await self._signals.ask_owner(operation_id, timeout_seconds=ASK_SECONDS)
            if owner is not None:
                return True
            # "Nobody listens" comes at once; an owner that is reconnecting needs a moment.
            waited = self._clock.monotonic_seconds() - asked_at
            await asyncio.sleep(max(0.0, ASK_SECONDS - waited))
        return False

    def _run_log(self, operation_id: str, view: RunView) -> RunLog:
        return RunLog(
            self._event_log,
            self._clock,
            operation_id=operation_id,
            root_id=view.request.root_id if view.request else operation_id,
            worker_id=self._settings.worker_id,
            instance_id=self._instance_id,
            last_sequence=view.run_sequence,
            patience_seconds=self._settings.outage_patience_seconds,
        )
