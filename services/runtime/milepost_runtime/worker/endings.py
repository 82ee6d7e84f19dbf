"""How an attempt ends: the last words in the log, and what becomes of the work message after them."""

from pathlib import Path

import structlog
from milepost_contracts.checkpoints import CheckpointReason
from milepost_contracts.events import AttemptLost, Cancelled, Completed, Failed, Released
from milepost_contracts.failures import Failure, FailureCode

from milepost_runtime.worker.claims import ClaimedOperation
from milepost_runtime.worker.letting_go import let_go
from milepost_runtime.worker.messages import Finished
from milepost_runtime.worker.patience import patiently
from milepost_runtime.worker.ports import AttemptPorts
from milepost_runtime.worker.preparation import RestorePoint
from milepost_runtime.worker.publisher import Publisher
from milepost_runtime.worker.results import upload_results

log = structlog.get_logger()


class Endings:
    """Ends one attempt; exactly one of the methods is called, once."""

    def __init__(self, claimed: ClaimedOperation, publisher: Publisher, ports: AttemptPorts) -> None:
        self._claimed = claimed
        self._publisher = publisher
        self._ports = ports
        self.restored: RestorePoint | None = None
        """The checkpoint that the attempt goes on from, once it is loaded."""

    @property
    def checkpoint_id(self) -> str | None:
        """The newest checkpoint that a resume could go on from."""
        restored = self.restored.checkpoint_id if self.restored else None
        return self._publisher.checkpoint_id or restored

    @property
    def checkpoint_unit(self) -> int:
        """The unit of that checkpoint, 0 without one."""
        if self._publisher.checkpoint_unit is not None:
            return self._publisher.checkpoint_unit
        return self.restored.loaded.unit if self.restored else 0

    async def complete(self, directory: Path, message: Finished) -> None:
        """All units are done: results to the store, then ``completed``."""
        artifacts = await patiently(
            lambda: upload_results(self._ports.store, directory, message.files),
            what="upload results",
            clock=self._ports.clock,
            patience_seconds=self._ports.settings.outage_patience_seconds,
        )
        await self._end(
            Completed(
                attempt=self._claimed.attempt,
                unit=message.unit,
                artifacts=artifacts,
                summary=message.summary,
            )
        )

    async def stopped(
        self, unit: int, reason: CheckpointReason, words: str | None, *, forced: bool = False
    ) -> None:
        """Stopped as asked: ``cancelled``, or ``released`` when the worker shuts down."""
        attempt = self._claimed.attempt
        if reason is not CheckpointReason.SHUTDOWN:
            await self._end(
                Cancelled(
                    attempt=attempt,
                    unit=unit,
                    checkpoint_id=self.checkpoint_id,
                    reason=words,
                    forced=forced,
                )
            )
            return
        await self._claimed.run_log.append(
            Released(attempt=attempt, unit=unit, checkpoint_id=self.checkpoint_id, reason=words or "released")
        )
        await let_go(self._claimed.item.give_back(), self._claimed.operation_id)

    async def failed(self, failure: Failure, unit: int) -> None:
        """The job raised."""
        await self._end(
            Failed(
                attempt=self._claimed.attempt, unit=unit, failure=failure, checkpoint_id=self.checkpoint_id
            )
        )

    async def refused(self, code: FailureCode, message: str, fix: str) -> None:
        """It could not even begin."""
        await self.failed(Failure(code=code, message=message, fix=fix), self.checkpoint_unit)

    async def lost(self, failure: Failure) -> None:
        """The child died: the next attempt goes on, unless too many were lost."""
        log.warning("child died", operation_id=self._claimed.operation_id, reason=failure.message)
        await self._claimed.run_log.append(AttemptLost(attempt=self._claimed.attempt, failure=failure))
        lost = self._claimed.view.attempts_lost + 1
        if lost >= self._claimed.request.options.max_attempts:
            fix = failure.fix or "look at the attempts with `milepost events`, then resume"
            message = f"{lost} attempts were lost; the last one: {failure.message}"
            update = {"code": FailureCode.ATTEMPTS_EXHAUSTED, "message": message, "fix": fix}
            await self.failed(failure.model_copy(update=update), self.checkpoint_unit)
            return
        delay_seconds = self._ports.settings.retry_delay_seconds * 2 ** (lost - 1)
        await let_go(self._claimed.item.give_back(delay_seconds=delay_seconds), self._claimed.operation_id)

    async def _end(self, event: Cancelled | Completed | Failed) -> None:
        """Write the terminal event; only after that the work may be removed."""
        await self._claimed.run_log.append(event)
        await let_go(self._claimed.item.done(), self._claimed.operation_id)
