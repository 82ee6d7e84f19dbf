"""A log of facts that are no operation's: the dispatch policy, schedules. A port, with one conformance suite.

States: the records of one subject, in order. Authority: whoever appends names the last sequence it has seen of
the subject; if another writer was there first the append is refused with ``SequenceConflictError``. Failures: an
append whose answer was lost may be repeated with the same id; it then returns the position of the first one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from milepost_contracts.records import DispatchEnvelope


@dataclass(frozen=True, slots=True)
class Record:
    """One record and its position."""

    sequence: int
    envelope: DispatchEnvelope


class RecordLog(Protocol):
    """Append and read records."""

    async def append(
        self, envelope: DispatchEnvelope, *, expected_sequence: int, replace: bool = False
    ) -> int:
        """Append to the records of ``envelope.subject`` and return the sequence.

        With ``replace`` it takes the place of those before it.

        Raises:
            SequenceConflictError: someone else appended to that subject first.
            BusUnavailableError: no answer within the bounds; repeating with the same envelope is safe.
        """
        ...

    async def read(self, subject: str | None = None) -> Sequence[Record]:
        """Return the records of one subject, or of all, in order."""
        ...
