"""One attempt: a claimed operation on this worker, from its claim to its last event.

States: claimed -> preparing -> computing -> ended by exactly one of completed, cancelled, failed, released,
attempt-lost; or fenced, and then by nothing. Authority: this attempt's ``RunLog``; whoever claims next
fences it. Failures: the child dies -> attempt-lost, given back; the job raises -> failed; store or bus away ->
waited out; fenced -> the child is killed and nothing more is written, acked or given back.
"""

import asyncio
import contextlib
from typing import assert_never

import structlog
from milepost_contracts.checkpoints import CheckpointReason
from milepost_contracts.events import CancelRequested, Requested, Started
from milepost_contracts.failures import Failure, FailureCode

from milepost_runtime.checkpoints.service import CheckpointService
from milepost_runtime.checkpoints.spool import Spool
from milepost_runtime.errors import (
    ArtifactDamagedError,
    ArtifactMissingError,
    CheckpointDamagedError,
)
from milepost_runtime.signals import Owner
from milepost_runtime.worker.child_process import ChildProcess
from milepost_runtime.worker.claims import ClaimedOperation
from milepost_runtime.worker.endings import Endings
from milepost_runtime.worker.escalation import Escalation
from milepost_runtime.worker.messages import (
    Advanced,
    Begun,
    Committed,
    Finished,
    Raised,
    Ready,
    RestoredCheckpoint,
    Run,
    SaveNow,
    Staged,
    Stop,
    Stopped,
)
from milepost_runtime.worker.patience import patiently
from milepost_runtime.worker.ports import AttemptPorts
from milepost_runtime.worker.preparation import OperationDirectories, RestorePoint
from milepost_runtime.worker.publisher import Publisher
from milepost_runtime.worker.run_log import FencedError
from milepost_runtime.worker.watch import Watch

log = structlog.get_logger()


class Attempt:
    """Computes one claimed operation in a child and tells its story in the log."""

    def __init__(
        self,
        claimed: ClaimedOperation,
        child: ChildProcess,
        ports: AttemptPorts,
        directories: OperationDirectories,
    ) -> None:
        self._claimed = claimed
        self._child = child
        self._ports = ports
        self._directories = directories
        self._settings = ports.settings
        self._stop: Stop | None = _stop_from_options(claimed.request)
        self._running = False
        self._save_wanted = False
        self._escalation = Escalation(child, ports.clock, ports.settings)
        spool = Spool(directories.spool)
        self._service = CheckpointService(ports.store, spool)
        self._publisher = Publisher(
            run_log=claimed.run_log,
            service=self._service,
            spool=spool,
            clock=ports.clock,
            operation_id=claimed.operation_id,
            attempt=claimed.attempt,
            progress_seconds=self._settings.progress_seconds,
            patience_seconds=self._settings.outage_patience_seconds,
            committed=self._tell_committed,
        )
        self._endings = Endings(claimed, self._publisher, ports)

    async def run(self) -> None:
        """Compute until the attempt has ended, one way or another."""
        watch = Watch(
            item=self._claimed.item,
            event_log=self._ports.event_log,
            run_log=self._claimed.run_log,
            renewal_seconds=self._settings.renewal_seconds,
            cancel=self._cancel_requested,
            save_now=self._checkpoint_requested,
            saved_sequence=self._claimed.view.manual_sequence,
        )
        owner = Owner(worker_id=self._settings.worker_id, attempt=self._claimed.attempt)
        subscription = await self._ports.signals.serve(owner, self._claimed.operation_id, watch.wake)
        await asyncio.to_thread(self._directories.create)
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(watch.run()), tasks.create_task(self._publisher.run())]
                await self._compute()
                for task in background:
                    task.cancel()
        except* FencedError:
            log.warning("fenced", operation_id=self._claimed.operation_id, attempt=self._claimed.attempt)
        except* CheckpointDamagedError as group:
            await self._spool_damaged(group.exceptions[0])
        finally:
            await subscription.close()
            self._escalation.cancel()
            await self._child.kill()
            await asyncio.to_thread(self._directories.remove)

    async def shut_down(self, words: str = "worker shut down") -> None:
        """Stop at the next unit boundary and give the operation back with a checkpoint, saying why."""
        await self._request_stop(Stop(reason=CheckpointReason.SHUTDOWN, words=words))

    async def _compute(self) -> None:
        try:
            run = await self._prepare()
        except (ArtifactMissingError, ArtifactDamagedError) as error:
            fix = "add the dataset again and start anew"
            await self._endings.refused(FailureCode.INPUT_DAMAGED, str(error), fix)
            return
        except CheckpointDamagedError as error:
            fix = "resume the parent from an earlier checkpoint"
            await self._endings.refused(FailureCode.CHECKPOINT_DAMAGED, str(error), fix)
            return
        log.info("computing", operation_id=self._claimed.operation_id, pid=self._child.pid)
        await self._child.send(run)
        self._running = True
        if self._save_wanted:
            await self._child.send(SaveNow())
        if self._stop is not None:
            await self._request_stop(self._stop)
        last_word = await self._listen()
        self._escalation.cancel()
        await self._publisher.drain()
        match last_word:
            case Finished():
                await self._endings.complete(self._directories.results, last_word)
            case Stopped():
                await self._endings.stopped(last_word.unit, last_word.reason, last_word.words)
            case Raised():
                await self._endings.failed(last_word.failure, last_word.unit)
            case None:
                await self._died()
            case _:
                assert_never(last_word)

    async def _prepare(self) -> Run:
        claimed = self._claimed
        inputs = await patiently(
            lambda: self._ports.preparation.inputs(claimed.request),
            what="fetch inputs",
            clock=self._ports.clock,
            patience_seconds=self._settings.outage_patience_seconds,
        )
        restored = await patiently(
            lambda: self._ports.preparation.restore_point(
                claimed.view, self._service, self._directories.restored
            ),
            what="fetch checkpoint",
            clock=self._ports.clock,
            patience_seconds=self._settings.outage_patience_seconds,
        )
        self._endings.restored = restored
        options = claimed.request.options
        return Run(
            operation_id=claimed.operation_id,
            spec=claimed.request.spec,
            inputs=inputs,
            scratch_directory=str(self._directories.scratch),
            cache_directory=str(self._settings.directory / "cache"),
            spool_directory=str(self._directories.spool),
            results_directory=str(self._directories.results),
            checkpoint=_restored_message(restored, claimed.request),
            policy=options.checkpoint or self._settings.checkpoint or self._ports.default_policy,
            pace_units_per_second=options.pace_units_per_second,
            stop=self._stop,
            progress_seconds=self._settings.progress_seconds / 2,
            accept_environment=options.accept_environment,
        )

    async def _listen(self) -> Finished | Stopped | Raised | None:
        """Handle what the child says, to its last word; None when it died without one."""
        async for message in self._child.messages():
            match message:
                case Begun():
                    await self._begun(message)
                case Advanced():
                    self._publisher.advanced(message)
                case Staged():
                    await self._publisher.staged(message.directory)
                case Finished() | Stopped() | Raised():
                    return message
                case Ready():
                    pass  # said once more by nobody; harmless
                case _:
                    assert_never(message)
        return None

    async def _died(self) -> None:
        """Without a last word: killed by us because it did not stop, or lost."""
        await self._child.ended(grace_seconds=self._settings.kill_grace_seconds)
        if self._escalation.armed and self._stop is not None:
            # What it was asked to do holds, from the newest checkpoint.
            words = self._escalation.words_after(self._stop.words)
            await self._endings.stopped(
                self._endings.checkpoint_unit, self._stop.reason, words, forced=self._escalation.ended_it
            )
        else:
            await self._endings.lost(await self._child.death())

    async def _spool_damaged(self, error: BaseException) -> None:
        """The disk did not keep a checkpoint: the next attempt goes on from one that is in the store."""
        await self._child.kill()
        failure = Failure(
            code=FailureCode.CHECKPOINT_DAMAGED,
            message=f"the worker's disk did not keep a checkpoint: {error}",
            fix="look at the disk of the worker that the attempt names",
        )
        with contextlib.suppress(FencedError):  # then it is another worker's already
            await self._endings.lost(failure)

    async def _begun(self, message: Begun) -> None:
        self._publisher.total_units = message.total_units
        self._publisher.unit = message.unit
        await self._claimed.run_log.append(
            Started(
                attempt=self._claimed.attempt,
                unit=message.unit,
                total_units=message.total_units,
                unit_name=message.unit_name,
                checkpoint_id=self._endings.checkpoint_id,
                fingerprint=message.fingerprint,
                environment_differences=message.environment_differences,
            )
        )

    # --- stopping ---------------------------------------------------------------------------------

    async def _cancel_requested(self, event: CancelRequested) -> None:
        words = event.reason or "cancelled on request"
        self._escalation.deadline(event.deadline_at)
        await self._request_stop(
            Stop(reason=CheckpointReason.CANCELLATION, at_unit=event.at_unit, words=words)
        )

    async def _checkpoint_requested(self) -> None:
        self._save_wanted = True
        if self._running:
            await self._child.send(SaveNow())

    async def _request_stop(self, stop: Stop) -> None:
        self._stop = _earlier_stop(self._stop, stop)
        if not self._running:
            return  # it goes with the message that starts the run
        await self._child.send(stop)
        if stop.at_unit is None:
            self._escalation.arm()

    async def _tell_committed(self, committed: Committed) -> None:
        await self._child.send(committed)


def _stop_from_options(request: Requested) -> Stop | None:
    at_unit = request.options.stop_at_unit
    if at_unit is None:
        return None
    return Stop(
        reason=CheckpointReason.CANCELLATION, at_unit=at_unit, words=f"stop asked for after unit {at_unit}"
    )


def _earlier_stop(old: Stop | None, new: Stop) -> Stop:
    """Of two requests the one that stops earlier stands, as in the token."""
    if old is None or (old.at_unit is not None and new.at_unit is None):
        return new
    if old.at_unit is not None and new.at_unit is not None and new.at_unit < old.at_unit:
        return new
    return old


def _restored_message(restored: RestorePoint | None, request: Requested) -> RestoredCheckpoint | None:
    if restored is None:
        return None
    loaded, origin = restored.loaded, request.origin
    # A fork differs from its origin only; its own checkpoints hold what it has changed.
    is_origin = origin is not None and origin.checkpoint_id == restored.checkpoint_id
    return RestoredCheckpoint(
        unit=loaded.unit,
        directory=str(loaded.directory),
        artifacts=loaded.artifacts,
        fingerprint=dict(loaded.fingerprint),
        changed_entries=request.changed_entries if is_origin else (),
        checksums=dict(loaded.checksums),
    )
