"""The sweeper: finds operations that fell between, and puts them back on their way.

What it looks for: an operation that has not ended and has no work message, so that nobody would ever claim it;
and one that is to be cancelled and that nobody owns. Authority: candidates come from the read models, every
decision is made on the log. Failures: database or bus away: the next round; two sweepers at once: the log's
expected sequence and the one work message for each operation make the second one's deeds void.
"""

import asyncio

import structlog
from milepost_contracts.events import AttemptLost, Side
from milepost_contracts.failures import Failure, FailureCode
from milepost_contracts.ids import event_id_of
from milepost_runtime.errors import BusUnavailableError, SequenceConflictError
from milepost_runtime.signals import Signals
from milepost_runtime.work_queue import WorkQueue

from milepost_orchestrator.application.effects import Appender, Effects, work_key
from milepost_orchestrator.application.errors import DatabaseUnavailableError
from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.application.queries import ReadModel
from milepost_orchestrator.domain.operation import Attempt, Cancelling, Operation, is_terminal

log = structlog.get_logger()
PAGE = 500
ASKS = 3
ASK_SECONDS = 0.5
"""An owner is asked this often, this long each time, before its attempt counts as lost."""


class Sweeper:
    """Sweeps now and then; ``run`` for ever."""

    def __init__(
        self,
        read_model: ReadModel,
        operations: Operations,
        appender: Appender,
        effects: Effects,
        work_queue: WorkQueue,
        signals: Signals,
        *,
        interval_seconds: float,
        ask_seconds: float = ASK_SECONDS,
    ) -> None:
        self._read_model = read_model
        self._operations = operations
        self._appender = appender
        self._effects = effects
        self._work_queue = work_queue
        self._signals = signals
        self._interval_seconds = interval_seconds
        self._ask_seconds = ask_seconds

    async def run(self) -> None:
        """Sweep every ``interval_seconds`` until cancelled."""
        while True:
            try:
                await self.sweep()
            except (DatabaseUnavailableError, BusUnavailableError) as error:
                log.warning("sweep put off", reason=str(error))
            await asyncio.sleep(self._interval_seconds)

    async def sweep(self) -> int:
        """Look at every operation that has not ended; return how many were put back on their way.

        Raises:
            DatabaseUnavailableError, BusUnavailableError: not finished; repeating is safe.
        """
        mended = 0
        after_id = ""
        while page := await self._read_model.live_operations(after_id=after_id, limit=PAGE):
            for candidate in page:
                if candidate.may_be_parked:
                    continue
                if candidate.cancelling or not await self._work_queue.contains(candidate.work):
                    mended += await self._mend(candidate.work.operation_id)
            after_id = page[-1].work.operation_id
        return mended

    async def _mend(self, operation_id: str) -> bool:
        state, expected_sequence = await self._operations.load_for_run_append(operation_id)
        if state is None or is_terminal(state) or state.facts.imported_from is not None:
            return False
        if isinstance(state, Cancelling) and (state.facts.owner is None or state.deadline_at is not None):
            await self._effects.cancel(operation_id)
        if await self._work_queue.contains(work_key(operation_id, state.facts.requested)):
            return False
        owner = state.facts.owner
        if owner is not None and not await self._answers(operation_id):
            await self._mark_lost(state, owner, expected_sequence)
        # With a live owner too: the work message exists as long as the operation has not ended.
        log.warning("work was missing", operation_id=operation_id)
        await self._effects.dispatch(operation_id)
        return True

    async def _answers(self, operation_id: str) -> bool:
        for _ in range(ASKS):
            if await self._signals.ask_owner(operation_id, timeout_seconds=self._ask_seconds) is not None:
                return True
            await asyncio.sleep(
                self._ask_seconds
            )  # "nobody listens" comes at once; a reconnect takes a moment
        return False

    async def _mark_lost(self, state: Operation, owner: Attempt, expected_sequence: int) -> None:
        facts = state.facts
        event = AttemptLost(
            attempt=owner.attempt,
            failure=Failure(
                code=FailureCode.WORKER_LOST,
                message=f"the worker {owner.worker_id} does not answer and its lease is gone",
                fix="another worker goes on from the newest checkpoint by itself",
            ),
        )
        try:
            await self._appender.append(
                facts.operation_id,
                event,
                event_id=event_id_of(facts.operation_id, Side.RUN, AttemptLost.NAME, expected_sequence),
                root_id=facts.requested.root_id,
                causation_id=None,
                expected_sequence=expected_sequence,
            )
        except SequenceConflictError:
            log.info("the worker lives", operation_id=facts.operation_id, worker_id=owner.worker_id)
