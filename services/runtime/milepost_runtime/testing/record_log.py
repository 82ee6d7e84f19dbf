"""A record log in memory."""

from milepost_contracts.messages import encode
from milepost_contracts.records import DispatchEnvelope

from milepost_runtime.errors import SequenceConflictError
from milepost_runtime.record_log import Record


class MemoryRecordLog:
    """Implements ``RecordLog``; records go through their wire form."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._sequence = 0

    async def append(
        self, envelope: DispatchEnvelope, *, expected_sequence: int, replace: bool = False
    ) -> int:
        """Append one record; see the port."""
        own = [record for record in self.records if record.envelope.subject == envelope.subject]
        last = own[-1].sequence if own else 0
        if last != expected_sequence:
            following = next((record for record in own if record.sequence > expected_sequence), None)
            if following is not None and following.envelope.id == envelope.id:
                return following.sequence
            raise SequenceConflictError(f"{envelope.subject}: expected {expected_sequence}, is {last}")
        stored = DispatchEnvelope.model_validate_json(encode(envelope))
        self._sequence += 1
        if replace:
            self.records = [each for each in self.records if each.envelope.subject != envelope.subject]
        self.records.append(Record(self._sequence, stored))
        return self._sequence

    async def read(self, subject: str | None = None) -> list[Record]:
        """Return records; see the port."""
        return [record for record in self.records if subject in (None, record.envelope.subject)]
