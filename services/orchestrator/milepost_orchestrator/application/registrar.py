"""The registrar: puts checkpoints on record.

States of a checkpoint: saved (its event is in the log) -> every artifact verified -> manifest in the store ->
``checkpoint-recorded``; or, with artifacts missing or damaged, ``checkpoint-refused``. Authority: the log; a
checkpoint that was settled there once is never settled again. Failures: a crash between any two steps is repeated
from the start, which is safe; a store that is away gives the event back, nothing is refused for that.
"""

import structlog
from milepost_contracts.checkpoints import Manifest
from milepost_contracts.events import CheckpointRecorded, CheckpointRefused, Event, StateSnapshot
from milepost_contracts.ids import event_id_of
from milepost_runtime.checkpoints.service import CheckpointService
from milepost_runtime.errors import CheckpointDamagedError, SequenceConflictError
from milepost_runtime.event_log import LogEntry
from milepost_runtime.store.stopping import in_thread

from milepost_orchestrator.application.effects import Appender
from milepost_orchestrator.application.errors import ContendedError
from milepost_orchestrator.application.operations import Operations
from milepost_orchestrator.domain.operation import CheckpointStatus, Operation

log = structlog.get_logger()
TRIES_MAX = 20
REGISTRAR_EVENTS: tuple[type[Event], ...] = (StateSnapshot,)


class Registrar:
    """Handles one ``state-snapshot`` at a time; several may be handled at once."""

    def __init__(self, operations: Operations, appender: Appender, service: CheckpointService) -> None:
        self._operations = operations
        self._appender = appender
        self._service = service

    async def handle(self, entry: LogEntry) -> None:
        """Verify the checkpoint and settle it.

        Raises:
            BusUnavailableError, StoreUnavailableError, StoreAccessError: not settled; repeating is safe.
        """
        snapshot = entry.event
        if not isinstance(snapshot, StateSnapshot):
            return
        verdict: CheckpointRecorded | CheckpointRefused | None = None
        for _ in range(TRIES_MAX):
            state = await self._operations.load(entry.operation_id)
            if state is None or not _is_unsettled(state, snapshot.checkpoint_id):
                return
            if verdict is None:
                verdict = await in_thread(self._verify, state, snapshot, entry)
            try:
                await self._append(state, verdict, entry)
            except SequenceConflictError:
                continue  # another control event was first: look again
            return
        raise ContendedError(f"{TRIES_MAX} times")

    def _verify(
        self, state: Operation, snapshot: StateSnapshot, entry: LogEntry
    ) -> CheckpointRecorded | CheckpointRefused:
        manifest = Manifest(
            operation_id=entry.operation_id,
            checkpoint_id=snapshot.checkpoint_id,
            kind=state.facts.requested.kind,
            attempt=snapshot.attempt,
            unit=snapshot.unit,
            total_units=snapshot.total_units,
            reason=snapshot.reason,
            saved_at=entry.envelope.time,
            artifacts=snapshot.artifacts,
            fingerprint=snapshot.fingerprint,
            summary=snapshot.summary,
        )
        try:
            key, digest = self._service.register(manifest)
        except CheckpointDamagedError as error:
            return CheckpointRefused(
                checkpoint_id=snapshot.checkpoint_id, message=str(error), artifacts=error.problems
            )
        return CheckpointRecorded(
            checkpoint_id=snapshot.checkpoint_id,
            manifest_key=key,
            manifest_digest=digest,
            size_bytes=sum(artifact.size_bytes for artifact in snapshot.artifacts),
        )

    async def _append(
        self, state: Operation, verdict: CheckpointRecorded | CheckpointRefused, entry: LogEntry
    ) -> None:
        await self._appender.append(
            entry.operation_id,
            verdict,
            event_id=event_id_of(entry.operation_id, "checkpoint-settled", verdict.checkpoint_id),
            root_id=state.facts.requested.root_id,
            causation_id=entry.envelope.id,
            expected_sequence=state.facts.control_sequence,
        )
        log.info(verdict.NAME, operation_id=entry.operation_id, checkpoint_id=verdict.checkpoint_id)


def _is_unsettled(state: Operation, checkpoint_id: str) -> bool:
    checkpoint = state.facts.checkpoints.get(checkpoint_id)
    return checkpoint is not None and checkpoint.status is CheckpointStatus.SAVED
