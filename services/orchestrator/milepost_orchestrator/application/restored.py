"""What was written from archived operations' files, and what of the log is therefore passed over."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from milepost_contracts.events import Archived
from milepost_runtime.event_log import BatchEntry, LogEntry


@dataclass(frozen=True, slots=True)
class Restored:
    """The operations that were archived up to a position of the log, in a few numbers whatever their count."""

    to_sequence: int = 0
    """Position of the last ``archived`` event whose operation was written."""
    partly_removed: Mapping[str, int] = field(default_factory=dict[str, int])
    """Operations that have earlier events in the log still, and the last position that is in their file."""
    damaged: frozenset[str] = frozenset()
    """Operations that were not written, as their file is not what was put there."""

    def holds(self, entry: BatchEntry) -> bool:
        """Whether the rows of an entry are written.

        Of an operation whose events were removed there is one event up to ``to_sequence``: the ``archived`` one.
        """
        if entry.sequence > self.to_sequence:
            return False
        last_sequence = self.partly_removed.get(entry.operation_id)
        if last_sequence is not None:
            return entry.sequence <= last_sequence
        is_archived = isinstance(entry, LogEntry) and isinstance(entry.event, Archived)
        return is_archived and entry.operation_id not in self.damaged


NOTHING_RESTORED = Restored()
