"""Compare two event streams: which events only one of them has, and what differs in those that both have."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from milepost_contracts.model import JsonObject

from milepost_runtime.event_log import LogEntry
from milepost_runtime.history.differences import Difference, differences

PER_RUN = frozenset(
    {
        "worker_id",
        "host",
        "pid",
        "units_per_second",
        "checkpoint_id",
        "manifest_key",
        "manifest_digest",
        "child_id",
        "parent_id",
        "root_id",
        "requested_by",
    }
)
"""Fields that differ between any two runs of the same thing: ids, who and where, how fast."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An event of the first stream and the one of the second that corresponds to it, or one alone."""

    left: LogEntry | None
    right: LogEntry | None
    differences: tuple[Difference, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether both are there and nothing differs."""
        return self.left is not None and self.right is not None and not self.differences


def compare(left: Sequence[LogEntry], right: Sequence[LogEntry], *, exact: bool = False) -> list[Pair]:
    """Return the pairs in order.

    Compared are the events' data without what is of one run only; ``exact`` compares all data, ids, times and
    sources. Positions in the log are never compared.
    """
    matcher = SequenceMatcher(None, [_key(e) for e in left], [_key(e) for e in right], autojunk=False)
    pairs: list[Pair] = []
    for kind, left_from, left_to, right_from, right_to in matcher.get_opcodes():
        if kind == "equal":
            both = zip(left[left_from:left_to], right[right_from:right_to], strict=True)
            pairs.extend(Pair(a, b, tuple(_differences(a, b, exact=exact))) for a, b in both)
        else:
            pairs.extend(_unequal(left[left_from:left_to], right[right_from:right_to], exact=exact))
    return pairs


def _unequal(left: Sequence[LogEntry], right: Sequence[LogEntry], *, exact: bool) -> Iterator[Pair]:
    """Events at other units: those of the same name belong together, in order; the others stand alone."""
    names = SequenceMatcher(None, [e.event.NAME for e in left], [e.event.NAME for e in right], autojunk=False)
    for kind, left_from, left_to, right_from, right_to in names.get_opcodes():
        if kind == "equal":
            for a, b in zip(left[left_from:left_to], right[right_from:right_to], strict=True):
                yield Pair(a, b, tuple(_differences(a, b, exact=exact)))
            continue
        yield from (Pair(entry, None) for entry in left[left_from:left_to])
        yield from (Pair(None, entry) for entry in right[right_from:right_to])


def _key(entry: LogEntry) -> tuple[str, Any]:
    return entry.event.NAME, getattr(entry.event, "unit", None)


def _differences(left: LogEntry, right: LogEntry, *, exact: bool) -> Iterator[Difference]:
    if exact:
        ignored = {"sequence", "subject", "correlationid", "importedfrom"}
        yield from differences(
            left.envelope.model_dump(mode="json", exclude=ignored),
            right.envelope.model_dump(mode="json", exclude=ignored),
        )
        return
    yield from differences(_of_any_run(left.envelope.data), _of_any_run(right.envelope.data))


def _of_any_run(data: JsonObject) -> JsonObject:
    return {
        key: _of_any_run(value) if isinstance(value, dict) else value
        for key, value in data.items()
        if key not in PER_RUN
    }
