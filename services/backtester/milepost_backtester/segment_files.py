"""One file with the new rows of several logs, made for a checkpoint that somebody waits for.

Arrow IPC streams (https://arrow.apache.org/docs/format/Columnar.html) without compression, one after the other,
a log each: columns and records as they lie in memory, so writing costs a copy. A stream's schema says which log
it is of and which of its rows it holds. Nothing in it is executed when it is read.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from milepost_runtime.checksums import FileChecksum, measure_checksum

from milepost_backtester.parquet import Array, Schema, Table, pa
from milepost_backtester.tables import Columns

MEDIA_TYPE = "application/vnd.apache.arrow.stream"


class SegmentFileError(Exception):
    """A file is no segment; the message says why."""


@dataclass(frozen=True, slots=True)
class LogRows:
    """Rows ``start`` to ``stop`` of a log; fewer are in the table of a log that holds changes only."""

    log: str
    start: int
    stop: int
    table: Table


def log_rows(log: str, start: int, stop: int, columns: Columns, schema: Schema) -> LogRows:
    """Return columns of ``schema`` as rows of a log."""
    arrays = [_array(columns[field.name], field.type) for field in schema]
    words = {"log": log, "start": str(start), "stop": str(stop)}
    return LogRows(log, start, stop, pa.Table.from_arrays(arrays, schema=schema.with_metadata(words)))


def write_segment(parts: Iterable[LogRows], path: Path) -> FileChecksum:
    """Write a segment and return the checksum of its bytes.

    Arrow writes the rows from where they lie and asks Python, whose lock the computing thread keeps, for nothing.
    """
    with pa.OSFile(str(path), mode="wb") as file:
        for part in parts:
            with pa.ipc.new_stream(file, part.table.schema) as stream:
                stream.write_table(part.table)
    return measure_checksum(path)


def read_segment(path: Path) -> tuple[LogRows, ...]:
    """Return what a segment holds; the tables refer to the mapped file.

    Raises:
        SegmentFileError: it is not what ``write_segment`` writes.
        OSError: it cannot be read.
    """
    with pa.memory_map(str(path)) as file:
        try:
            return tuple(_streams(file))
        except (pa.ArrowException, KeyError, ValueError) as error:
            raise SegmentFileError(f"it is no segment: {error}") from error


def _array(values: Any, kind: Any) -> Array:
    if not (pa.types.is_fixed_size_binary(kind) and len(values)):
        return pa.array(values, type=kind, from_pandas=False)
    records = pa.py_buffer(np.ascontiguousarray(values).view(np.uint8))
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, records])


def _streams(source: Any) -> Iterator[LogRows]:
    while source.tell() < source.size():
        with pa.ipc.open_stream(source) as stream:
            table = stream.read_all()
        table.validate(full=True)
        words: Mapping[bytes, bytes] = table.schema.metadata or {}
        yield LogRows(words[b"log"].decode(), int(words[b"start"]), int(words[b"stop"]), table)
