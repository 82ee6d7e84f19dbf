"""The record log on JetStream: see ``milepost_runtime.record_log``. One subject for each fold."""

from milepost_contracts.messages import encode
from milepost_contracts.records import DispatchEnvelope
from milepost_contracts.subjects import Subjects

from milepost_runtime.bus.connection import BusConnection
from milepost_runtime.bus.jetstream import (
    WRONG_LAST_SEQUENCE,
    WRONG_LAST_SEQUENCE_CONSTANT,
    JetStream,
)
from milepost_runtime.bus.pull import StreamReader
from milepost_runtime.bus.topology import Topology
from milepost_runtime.errors import BusRefusedError, SequenceConflictError
from milepost_runtime.record_log import Record
from milepost_runtime.settings import BusSettings

BATCH_MESSAGES = 500


class JetStreamRecordLog:
    """Implements ``RecordLog``."""

    def __init__(self, connection: BusConnection, settings: BusSettings) -> None:
        self._connection = connection
        self._timeout_seconds = settings.request_timeout_seconds
        self._jetstream = JetStream(connection, timeout_seconds=settings.request_timeout_seconds)
        self._subjects = Subjects(settings.prefix)
        self._stream = Topology(settings).dispatch

    async def append(
        self, envelope: DispatchEnvelope, *, expected_sequence: int, replace: bool = False
    ) -> int:
        """Append one record; see the port."""
        subject = self._subjects.dispatch_record(envelope.subject)
        headers = {
            "Nats-Expected-Stream": self._stream,
            "Nats-Expected-Last-Subject-Sequence": str(expected_sequence),
        }
        if replace:
            headers["Nats-Rollup"] = "sub"
        try:
            answer = await self._jetstream.publish(subject, encode(envelope), headers=headers)
        except BusRefusedError as error:
            if error.error_code not in (WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_CONSTANT):
                raise
            return await self._own_or_conflict(envelope, expected_sequence, error)
        return int(answer["seq"])

    async def read(self, subject: str | None = None) -> list[Record]:
        """Return records; see the port."""
        reader = StreamReader(
            self._connection,
            self._stream,
            timeout_seconds=self._timeout_seconds,
            filters=[self._subjects.dispatch_record(subject or "*")],
        )
        records: list[Record] = []
        try:
            while batch := await reader.next_batch_to_end(BATCH_MESSAGES):
                records.extend(
                    Record(message.sequence, DispatchEnvelope.model_validate_json(message.data))
                    for message in batch
                )
        finally:
            await reader.close()
        return records

    async def _own_or_conflict(
        self, envelope: DispatchEnvelope, expected_sequence: int, error: BusRefusedError
    ) -> int:
        """Look at the message that took the place after the expected one: a lost answer, or someone else."""
        for record in await self.read(envelope.subject):
            if record.sequence > expected_sequence:
                if record.envelope.id == envelope.id:
                    return record.sequence
                break
        raise SequenceConflictError(
            f"{envelope.subject}: {envelope.id} expected {expected_sequence}; {error.detail}"
        ) from error
