"""Append-only logs in a checkpoint: Parquet segments, each stored once.

A checkpoint writes the rows that no stored segment holds and refers to the others as ``kept``. A segment becomes
known when its writer, in the background, has written it and computed its digest; a checkpoint that is built
before that simply writes those rows again. ``SEGMENTS_MAX`` segments of a log are written anew as one.
Authority: the lengths in ``state.json``; rows beyond them are cut when a checkpoint is loaded.
"""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from milepost_contracts.artifacts import ArtifactReference
from milepost_contracts.failures import Problem
from milepost_runtime.checkpoints.data import FileWriter, LoadedCheckpoint
from milepost_runtime.digests import FileDigest, measure_file
from milepost_runtime.errors import CheckpointDamagedError

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.records import Logs
from milepost_backtester.parquet import MEDIA_TYPE, Schema, Table, read_table, write_table
from milepost_backtester.tables import (
    FILLS,
    TRADES,
    Columns,
    account_columns,
    account_schema,
    columns_of,
    logs_of_changes,
)

SEGMENTS_MAX = 16
RowsOf: TypeAlias = Callable[[str, int, int], Columns]
"""Columns of a log's rows from one number to before another; copies that do not change any more."""
_NAME = re.compile(r"(?P<log>[a-z]+)-(?P<start>\d{12})-(?P<stop>\d{12})\.parquet")


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows ``start`` to ``stop`` of a log, as a stored artifact."""

    start: int
    stop: int
    reference: ArtifactReference


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """The artifacts that hold the logs of one checkpoint."""

    files: Mapping[str, FileWriter]
    kept: tuple[ArtifactReference, ...]


class Segments:
    """Knows which rows of some logs are in stored segments; shared by the computing and the writing thread."""

    def __init__(self, schemas: Mapping[str, Schema], changes: frozenset[str] = frozenset()) -> None:
        """``changes``: logs with a row for the first ``bar`` of a segment and for each that changed something."""
        self._schemas = schemas
        self._changes = changes
        self._lock = threading.Lock()
        self._known: dict[str, list[Segment]] = {name: [] for name in schemas}

    def plan_rows(self, columns: RowsOf, lengths: Mapping[str, int]) -> SegmentPlan:
        """Return how to save logs up to these lengths; ``columns`` copies the rows that must be written."""
        files: dict[str, FileWriter] = {}
        kept: list[ArtifactReference] = []
        for name, length in lengths.items():
            with self._lock:
                chain = _chain(self._known[name], length)
            if len(chain) >= SEGMENTS_MAX:
                chain = []
            start = chain[-1].stop if chain else 0
            kept.extend(segment.reference for segment in chain)
            if start < length:
                writer = _SegmentWriter(
                    self, name, start, length, columns(name, start, length), self._schemas[name]
                )
                files[segment_name(name, start, length)] = writer
        return SegmentPlan(files, tuple(kept))

    def remember(self, name: str, segment: Segment) -> None:
        """A segment was written, or came with the checkpoint that the run goes on from."""
        with self._lock:
            known = self._known[name]
            # A merged segment makes those within it superfluous.
            known[:] = [old for old in known if not segment.start <= old.start < old.stop <= segment.stop]
            known.append(segment)

    def restore_rows(
        self, checkpoint: LoadedCheckpoint, lengths: Mapping[str, int]
    ) -> dict[str, list[Table]]:
        """Read logs back, cut to these lengths.

        Raises:
            CheckpointDamagedError: rows are missing.
        """
        return {name: self._restore_log(checkpoint, name, length) for name, length in lengths.items()}

    def _restore_log(self, checkpoint: LoadedCheckpoint, name: str, length: int) -> list[Table]:
        parts: list[Table] = []
        segments = [_segment_of(reference) for reference in checkpoint.references(f"{name}-")]
        done = 0
        for segment in _chain((segment for segment in segments if segment is not None), None):
            if done >= length:
                break
            stop = min(segment.stop, length)
            parts.append(self._rows_of(checkpoint, name, segment, stop))
            done = stop
            if segment.stop <= length:
                self.remember(name, segment)
        if done < length:
            raise _damaged(name, f"rows from {done} of {length} are in no segment")
        return parts

    def _rows_of(self, checkpoint: LoadedCheckpoint, name: str, segment: Segment, stop: int) -> Table:
        """Return a segment's rows up to ``stop``."""
        table = read_table(checkpoint.path(segment.reference.name))
        whole = table.schema.names == self._schemas[name].names
        rows = stop - segment.start
        if whole and name in self._changes:
            bars = table["bar"].to_numpy()
            whole = _are_changes(bars, segment)
            rows = int(np.searchsorted(bars, stop))
        elif whole:
            whole = table.num_rows == segment.stop - segment.start
        if not whole:
            raise _damaged(segment.reference.name, "it does not hold the rows that its name says")
        return table.slice(0, rows)


class SegmentedLogs(Segments):
    """The logs of a backtest; the account is saved where it changes."""

    def __init__(self, closes: Floats) -> None:
        """``closes``: (symbols, bars), or (bars,) of one symbol; with them equity follows from the account."""
        self._closes = np.atleast_2d(closes)
        symbols = len(self._closes)
        schemas = {"account": account_schema(symbols), "fills": FILLS, "trades": TRADES}
        super().__init__(schemas, frozenset({"account"}))

    def plan(self, logs: Logs, lengths: Mapping[str, int]) -> SegmentPlan:
        """Return how to save the logs up to these lengths; copies the rows that must be written."""
        return self.plan_rows(partial(_columns_of, logs), lengths)

    def restore(self, checkpoint: LoadedCheckpoint, lengths: Mapping[str, int]) -> Logs:
        """Read the logs back, cut to these lengths.

        Raises:
            CheckpointDamagedError: rows are missing.
        """
        parts = self.restore_rows(checkpoint, lengths)
        return logs_of_changes(parts, self._closes, lengths["account"])


def _columns_of(logs: Logs, name: str, start: int, stop: int) -> Columns:
    return account_columns(logs, start, stop) if name == "account" else columns_of(logs, name, start, stop)


def _are_changes(bars: Integers, segment: Segment) -> bool:
    """Say whether bars are in order, from the segment's first one on and within it."""
    if not len(bars):
        return False
    return bars[0] == segment.start and bars[-1] < segment.stop and bool((np.diff(bars) > 0).all())


class _SegmentWriter(FileWriter):
    media_type = MEDIA_TYPE

    def __init__(
        self, owner: Segments, name: str, start: int, stop: int, columns: Columns, schema: Schema
    ) -> None:
        self._owner = owner
        self._name = name
        self._start = start
        self._stop = stop
        self._columns = columns
        self._schema = schema

    def write(self, path: Path) -> FileDigest:
        write_table(self._columns, self._schema, path, quick=True)
        measured = measure_file(path)
        reference = ArtifactReference(
            name=segment_name(self._name, self._start, self._stop),
            digest=measured.digest,
            size_bytes=measured.size_bytes,
            media_type=MEDIA_TYPE,
        )
        self._owner.remember(self._name, Segment(self._start, self._stop, reference))
        return measured


def segment_name(name: str, start: int, stop: int) -> str:
    """Return the artifact name of rows ``start`` to ``stop`` of a log; names sort by their rows."""
    return f"{name}-{start:012d}-{stop:012d}.parquet"


def _segment_of(reference: ArtifactReference) -> Segment | None:
    match = _NAME.fullmatch(reference.name)
    return None if match is None else Segment(int(match["start"]), int(match["stop"]), reference)


def _chain(segments: Iterable[Segment], length: int | None) -> list[Segment]:
    """Return segments without gap or overlap from row 0 on, each the longest that fits."""
    longest: dict[int, Segment] = {}
    for segment in segments:
        if length is not None and segment.stop > length:
            continue
        best = longest.get(segment.start)
        if best is None or segment.stop > best.stop:
            longest[segment.start] = segment
    chain: list[Segment] = []
    place = 0
    while place in longest:
        chain.append(longest[place])
        place = longest[place].stop
    return chain


def _damaged(field: str, message: str) -> CheckpointDamagedError:
    return CheckpointDamagedError(problems=[Problem(field=field, message=message)])
