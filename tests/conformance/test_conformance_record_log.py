"""What every record log must do: one suite, run against the double and against JetStream."""

import pytest
from milepost_contracts.dispatch import DispatchHeld
from milepost_contracts.records import DispatchEnvelope, envelop_record
from milepost_runtime.bus.record_log import JetStreamRecordLog
from milepost_runtime.errors import SequenceConflictError
from milepost_runtime.record_log import RecordLog
from milepost_runtime.testing.record_log import MemoryRecordLog

from tests.runtime_bus.bus_support import NOW, Bus


def record(envelope_id: str, subject: str = "dispatch") -> DispatchEnvelope:
    event = DispatchHeld(reason=envelope_id)
    return envelop_record(event, event_id=envelope_id, subject=subject, source="/test", time=NOW)


class RecordLogConformance:
    """The suite; a subclass brings ``records``."""

    async def test_records_come_back_in_order(self, records: RecordLog) -> None:
        """Each subject has its own order; all of them together are in the order of the log."""
        assert await records.read("dispatch") == []
        first = await records.append(record("ev-1"), expected_sequence=0)
        await records.append(record("ev-2", "other"), expected_sequence=0)
        await records.append(record("ev-3"), expected_sequence=first)
        assert [each.envelope.id for each in await records.read("dispatch")] == ["ev-1", "ev-3"]
        everything = await records.read()
        assert [each.envelope.id for each in everything] == ["ev-1", "ev-2", "ev-3"]
        assert [each.sequence for each in everything] == sorted(each.sequence for each in everything)

    async def test_of_two_writers_one_wins(self, records: RecordLog) -> None:
        """The other one is told, and nothing of it is written."""
        await records.append(record("ev-1"), expected_sequence=0)
        with pytest.raises(SequenceConflictError):
            await records.append(record("ev-2"), expected_sequence=0)
        assert len(await records.read()) == 1

    async def test_a_repeated_append_writes_nothing(self, records: RecordLog) -> None:
        """After a lost answer the same record is found where it is, also when others came after it."""
        first = await records.append(record("ev-1"), expected_sequence=0)
        await records.append(record("ev-2"), expected_sequence=first)
        assert await records.append(record("ev-1"), expected_sequence=0) == first
        assert len(await records.read()) == 2

    async def test_a_record_can_take_the_place_of_those_before(self, records: RecordLog) -> None:
        """Only of its subject; what comes next is expected to follow it."""
        await records.append(record("ev-other", "other"), expected_sequence=0)
        first = await records.append(record("ev-1"), expected_sequence=0)
        second = await records.append(record("ev-2"), expected_sequence=first, replace=True)
        assert [each.envelope.id for each in await records.read("dispatch")] == ["ev-2"]
        with pytest.raises(SequenceConflictError):
            await records.append(record("ev-3"), expected_sequence=first, replace=True)
        await records.append(record("ev-4"), expected_sequence=second, replace=True)
        assert [each.envelope.id for each in await records.read()] == ["ev-other", "ev-4"]


@pytest.mark.unit
class TestMemoryRecordLog(RecordLogConformance):
    @pytest.fixture
    def records(self) -> RecordLog:
        return MemoryRecordLog()


class TestJetStreamRecordLog(RecordLogConformance):
    @pytest.fixture
    def records(self, bus: Bus) -> RecordLog:
        return JetStreamRecordLog(bus.connection, bus.settings)
