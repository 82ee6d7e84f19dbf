"""Append-only logs in a checkpoint: segments that hold the new rows of all of them, each stored once.

A checkpoint writes the rows that no stored segment holds and refers to the others as ``kept``. A segment becomes
known when the host says that it is stored; a checkpoint that is built before that simply writes those rows again.
Of ``SEGMENTS_MAX`` segments the newest are written anew as one, as long as each is no larger than what follows it:
however long a run is, a row is rewritten a few times only.
Authority: the lengths in ``state.json``; rows beyond them are cut when a checkpoint is loaded.
"""

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
from milepost_runtime.checksums import FileChecksum
from milepost_runtime.errors import CheckpointDamagedError

from milepost_backtester.engine.bars import Floats, Integers
from milepost_backtester.engine.layouts import FILL
from milepost_backtester.engine.records import Logs
from milepost_backtester.parquet import Schema, Table
from milepost_backtester.saved_account import account_columns, account_of, account_schema
from milepost_backtester.saved_trades import (
    SAVED_TRADE_ROWS,
    WHOLE_TRADE_ROWS,
    UnknownOrderError,
    saved_trades,
    trades_of,
)
from milepost_backtester.segment_files import (
    MEDIA_TYPE,
    LogRows,
    SegmentFileError,
    log_rows,
    read_segment,
    write_segment,
)
from milepost_backtester.tables import FILL_ROWS, ROW, Columns, records

SEGMENTS_MAX = 16
PREFIX = "logs-"
Lengths: TypeAlias = tuple[int, ...]
"""How many rows each log has, in the order of the schemas."""
RowsOf: TypeAlias = Callable[[str, int, int], Columns]
"""Columns of a log's rows from one number to before another; copies that do not change any more."""
AllRows: TypeAlias = Callable[[], Mapping[str, Columns]]
"""Columns of each log's rows in a segment; the writing thread asks for them."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of each log from ``start`` to before ``stop``, as a stored artifact."""

    start: Lengths
    stop: Lengths
    reference: ArtifactReference

    @property
    def rows(self) -> int:
        """How many rows of all logs it holds."""
        return sum(self.stop) - sum(self.start)


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """The artifacts that hold the logs of one checkpoint."""

    files: Mapping[str, FileWriter]
    kept: tuple[ArtifactReference, ...]


class Segments:
    """Knows which rows of some logs are in stored segments; shared by the computing and the listening thread."""

    def __init__(
        self,
        schemas: Mapping[str, Schema],
        changes: frozenset[str] = frozenset(),
        older: Mapping[str, Schema] | None = None,
    ) -> None:
        """``changes``: logs with a row for the first ``bar`` of a segment and for each that changed something.

        ``older``: how segments written by an older version hold a log, where that can still be read.
        """
        self.schemas = schemas
        self._changes = changes
        self._older = older or {}
        self._lock = threading.Lock()
        self._known: list[Segment] = []

    def plan_rows(self, columns: RowsOf, lengths: Mapping[str, int]) -> SegmentPlan:
        """Return how to save logs up to these lengths; ``columns`` copies the rows that must be written."""

        def rows_between(start: Lengths, stop: Lengths) -> AllRows:
            parts = zip(self.schemas, start, stop, strict=True)
            copies = {name: columns(name, first, last) for name, first, last in parts if first < last}
            return lambda: copies

        return self.plan_segment(rows_between, lengths)

    def plan_segment(
        self, rows_between: Callable[[Lengths, Lengths], AllRows], lengths: Mapping[str, int]
    ) -> SegmentPlan:
        """Return how to save logs up to these lengths; logs without new rows may be left out of the columns."""
        stop = tuple(lengths[name] for name in self.schemas)
        with self._lock:
            chain = _chain(self._known, stop)
        chain = _worth_keeping(chain, sum(stop))
        start = chain[-1].stop if chain else (0,) * len(stop)
        kept = tuple(segment.reference for segment in chain)
        if start == stop:
            return SegmentPlan({}, kept)
        writer = _SegmentWriter(self, start, stop, rows_between(start, stop))
        return SegmentPlan({segment_name(start, stop): writer}, kept)

    def remember(self, segment: Segment) -> None:
        """A segment is stored, or came with the checkpoint that the run goes on from."""
        with self._lock:
            # A merged segment makes those within it superfluous.
            self._known[:] = [
                old for old in self._known if not (segment.start <= old.start and old.stop <= segment.stop)
            ]
            self._known.append(segment)

    def restore_rows(
        self, checkpoint: LoadedCheckpoint, lengths: Mapping[str, int]
    ) -> dict[str, list[Table]]:
        """Read logs back, cut to these lengths.

        Raises:
            CheckpointDamagedError: rows are missing, or a segment is not what it says.
        """
        wanted = tuple(lengths[name] for name in self.schemas)
        found: dict[str, tuple[LogRows, ...]] = {}
        segments: list[Segment] = []
        for reference in checkpoint.references(PREFIX):
            parts = found[reference.name] = self._parts_of(checkpoint.path(reference.name))
            start, stop = tuple(part.start for part in parts), tuple(part.stop for part in parts)
            segments.append(Segment(start, stop, reference))
        tables: dict[str, list[Table]] = {name: [] for name in self.schemas}
        done: Lengths = (0,) * len(wanted)
        for segment in _chain(segments, None):
            if done == wanted:
                break
            for part, length in zip(found[segment.reference.name], wanted, strict=True):
                tables[part.log].append(self._cut(part, length))
            done = tuple(map(min, segment.stop, wanted))
            if done == segment.stop:
                self.remember(segment)
        self._refuse_missing(done, wanted)
        return tables

    def _refuse_missing(self, done: Lengths, wanted: Lengths) -> None:
        problems = [
            Problem(field=name, message=f"rows from {rows} of {length} are in no segment")
            for name, rows, length in zip(self.schemas, done, wanted, strict=True)
            if rows < length
        ]
        if problems:
            raise CheckpointDamagedError(problems=problems)

    def _parts_of(self, path: Path) -> tuple[LogRows, ...]:
        try:
            parts = read_segment(path)
            self._check_logs(parts)
        except SegmentFileError as error:
            raise CheckpointDamagedError(problems=[Problem(field=path.name, message=str(error))]) from error
        return parts

    def _check_logs(self, parts: tuple[LogRows, ...]) -> None:
        if [part.log for part in parts] != list(self.schemas):
            raise SegmentFileError(f"it holds {', '.join(part.log for part in parts) or 'no log'}")
        for part in parts:
            self._check_rows(part)

    def _check_rows(self, part: LogRows) -> None:
        # The layout of records is metadata of their column.
        schema = part.table.schema.remove_metadata()
        known = (self.schemas[part.log], self._older.get(part.log, self.schemas[part.log]))
        whole = any(schema.equals(one, check_metadata=True) for one in known)
        if whole and part.log in self._changes:
            whole = _are_changes(part.table["bar"].to_numpy(), part)
        elif whole:
            whole = part.table.num_rows == part.stop - part.start
        if not whole:
            raise SegmentFileError(f"it does not hold rows {part.start} to {part.stop} of {part.log}")

    def _cut(self, part: LogRows, length: int) -> Table:
        """Return the rows up to ``length``."""
        if part.stop <= length:
            return part.table
        if part.log in self._changes:
            return part.table.slice(0, int(np.searchsorted(part.table["bar"].to_numpy(), length)))
        return part.table.slice(0, max(0, length - part.start))


class SegmentedLogs(Segments):
    """The logs of a backtest; what follows from fills, closes and the rest of a row is not saved."""

    def __init__(self, closes: Floats, *, borrows: bool = True) -> None:
        """``closes``: (symbols, bars), or (bars,) of one symbol; with them equity follows from the account.

        ``borrows``: cash may change at any bar; otherwise only fills change it, and nobody has to look elsewhere.
        """
        self._closes = np.atleast_2d(closes)
        self._borrows = borrows
        self._restored_bars = 0
        symbols = len(self._closes)
        schemas = {"account": account_schema(symbols), "fills": FILL_ROWS, "trades": SAVED_TRADE_ROWS}
        super().__init__(schemas, frozenset({"account"}), {"trades": WHOLE_TRADE_ROWS})

    def plan(self, logs: Logs, lengths: Mapping[str, int]) -> SegmentPlan:
        """Return how to save the logs up to these lengths; their rows up to there must not change any more."""
        return self.plan_segment(lambda start, stop: partial(self._rows, logs, start, stop), lengths)

    def restore(self, checkpoint: LoadedCheckpoint, lengths: Mapping[str, int]) -> Logs:
        """Read the logs back, cut to these lengths.

        Raises:
            CheckpointDamagedError: rows are missing, or do not belong together.
        """
        parts, bars = self.restore_rows(checkpoint, lengths), lengths["account"]
        # A fork may have borrowed before, at another rate than its own.
        self._restored_bars = bars
        fills = records(parts["fills"], FILL)
        try:
            trades = trades_of(parts["trades"], fills)
        except UnknownOrderError as error:
            raise CheckpointDamagedError(problems=[Problem(field="trades", message=str(error))]) from error
        equity, cash, positions = account_of(parts["account"], fills, self._closes, bars)
        return Logs(equity, cash, positions[0] if len(positions) == 1 else positions, fills, trades)

    def _rows(self, logs: Logs, start: Lengths, stop: Lengths) -> Mapping[str, Columns]:
        (bar, fill, trade), (bar_stop, fill_stop, trade_stop) = start, stop
        only_fills = not self._borrows and bar >= self._restored_bars
        return {
            "account": account_columns(logs, bar, bar_stop, only_fills=only_fills),
            "fills": {ROW: logs.fills[fill:fill_stop]},
            "trades": {ROW: saved_trades(logs.trades[trade:trade_stop])},
        }


class _SegmentWriter(FileWriter):
    media_type = MEDIA_TYPE

    def __init__(self, owner: Segments, start: Lengths, stop: Lengths, rows: AllRows) -> None:
        self._owner = owner
        self._start = start
        self._stop = stop
        self._rows = rows

    def write(self, path: Path) -> FileChecksum:
        rows = self._rows()
        self._rows = dict[str, Columns]  # nobody needs them while the host takes its time to store the file
        parts = [
            log_rows(name, start, stop, rows.get(name) or _no_rows(schema), schema)
            for (name, schema), start, stop in zip(
                self._owner.schemas.items(), self._start, self._stop, strict=True
            )
        ]
        return write_segment(parts, path)

    def stored(self, reference: ArtifactReference) -> None:
        self._owner.remember(Segment(self._start, self._stop, reference))


def segment_name(start: Lengths, stop: Lengths) -> str:
    """Return the artifact name of rows ``start`` to ``stop`` of all logs, counted together; names sort by rows."""
    return f"{PREFIX}{sum(start):012d}-{sum(stop):012d}.arrows"


def _no_rows(schema: Schema) -> Columns:
    return {name: [] for name in schema.names}


def _are_changes(bars: Integers, part: LogRows) -> bool:
    """Say whether bars are in order, from the segment's first one on and within it."""
    if not len(bars):
        return part.start == part.stop
    return bars[0] == part.start and bars[-1] < part.stop and bool((np.diff(bars) > 0).all())


def _chain(segments: Iterable[Segment], lengths: Lengths | None) -> list[Segment]:
    """Return segments without gap or overlap from row 0 on, each the longest that fits."""
    longest: dict[Lengths, Segment] = {}
    for segment in segments:
        if lengths is not None and any(map(int.__gt__, segment.stop, lengths)):
            continue
        best = longest.get(segment.start)
        if segment.rows > (best.rows if best else 0):
            longest[segment.start] = segment
    chain: list[Segment] = []
    place = min(longest, default=())
    if any(place):
        return []  # the first rows are in no segment
    while place in longest:
        chain.append(longest[place])
        place = chain[-1].stop
    return chain


def _worth_keeping(chain: list[Segment], rows: int) -> list[Segment]:
    """Return the segments to refer to; the rows of the others, up to ``rows`` of all logs, are written anew."""
    if len(chain) < SEGMENTS_MAX:
        return chain
    kept = list(chain)
    while kept and (len(kept) >= SEGMENTS_MAX or kept[-1].rows <= rows - sum(kept[-1].stop)):
        kept.pop()
    return kept
