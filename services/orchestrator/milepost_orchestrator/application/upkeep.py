"""Keeps who did what to the stack itself, as records of the log.

Authority: none; nothing follows from these records, they are for people. Failures: a record that cannot be written
is an error for whoever did it: what was done can be done again without harm, and is recorded then.
"""

from milepost_contracts.records import decode_record, envelop_record
from milepost_contracts.upkeep import UPKEEP, UPKEEP_EVENTS, UpkeepEvent
from milepost_runtime.clock import Clock, random_id
from milepost_runtime.errors import SequenceConflictError
from milepost_runtime.record_log import Record, RecordLog

TRIES_MAX = 20


class Upkeep:
    """What was done, oldest first."""

    def __init__(self, records: RecordLog, clock: Clock, source: str) -> None:
        self._records = records
        self._clock = clock
        self._source = source

    async def record(self, event: UpkeepEvent) -> None:
        """Put on record what somebody has just done.

        Raises:
            BusUnavailableError: not recorded, or not known whether.
            SequenceConflictError: too many others were recorded at the same time.
        """
        envelope = envelop_record(
            event, event_id=random_id("ev"), subject=UPKEEP, source=self._source, time=self._clock.now()
        )
        for tried in range(1, TRIES_MAX + 1):
            records = await self._records.read(UPKEEP)
            try:
                await self._records.append(envelope, expected_sequence=records[-1].sequence if records else 0)
            except SequenceConflictError:
                if tried == TRIES_MAX:
                    raise
            else:
                return

    async def recorded(self) -> list[tuple[Record, UpkeepEvent]]:
        """Return what was ever done.

        Raises:
            BusUnavailableError: the log is away.
        """
        return [
            (each, decode_record(each.envelope, UPKEEP_EVENTS)) for each in await self._records.read(UPKEEP)
        ]
