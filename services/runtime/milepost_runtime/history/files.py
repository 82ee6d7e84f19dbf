"""History files: the events of some operations as JSON lines, with a digest at the end.

The first line is the header: ``{"milepost": "history", "version": 1, "source": P, "operations": [...],
"redacted": [...]}``. Then one line for each event, in the order of the log: ``{"sequence": N, "operation_id": ...,
"side": ..., "name": ..., "event": {...}}``, where ``event`` is the CloudEvents document byte for byte as it is on
the bus; one that is no JSON on one line is ``"payload"`` in base64 instead. The last line is ``{"events": N,
"digest": "sha256:..."}``, over every byte before it. Nothing else is in the file, no time either: the same events
give the same bytes.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, cast

from milepost_contracts.events import Side

from milepost_runtime.digests import RunningDigest
from milepost_runtime.errors import HistoryDamagedError
from milepost_runtime.event_log import StoredEvent

FORMAT = "history"
VERSION = 1
LINE_BYTES_MAX = 4 * 1024 * 1024
"""An event is at most 1 MiB on the bus; base64 and the frame make it longer."""
_DOCUMENT = b',"event":'


@dataclass(frozen=True, slots=True)
class HistoryHeader:
    """What a history file says of itself."""

    source: str
    """Prefix of the bus that the events come from."""
    operations: tuple[str, ...]
    redacted: tuple[str, ...] = ()
    """Paths whose values were replaced."""


@dataclass(frozen=True, slots=True)
class HistoryEnd:
    """The last line."""

    events: int
    digest: str


class HistoryWriter:
    """Writes a history file event by event; ``end`` makes it whole."""

    def __init__(self, file: IO[bytes], header: HistoryHeader) -> None:
        self._file = file
        self._digest = RunningDigest()
        self._events = 0
        self._write(
            _json(
                {
                    "milepost": FORMAT,
                    "version": VERSION,
                    "source": header.source,
                    "operations": list(header.operations),
                    "redacted": list(header.redacted),
                }
            )
        )

    def add(self, stored: StoredEvent) -> None:
        """Write one event."""
        frame = _json(
            {
                "sequence": stored.sequence,
                "operation_id": stored.operation_id,
                "side": stored.side.value,
                "name": stored.name,
            }
        )[:-1]
        if _is_document(stored.payload):
            self._write(frame + _DOCUMENT + stored.payload + b"}")
        else:
            self._write(frame + b',"payload":"' + base64.b64encode(stored.payload) + b'"}')
        self._events += 1

    def end(self) -> HistoryEnd:
        """Write the last line."""
        end = HistoryEnd(self._events, self._digest.result().digest)
        self._file.write(_json({"events": end.events, "digest": end.digest}) + b"\n")
        return end

    def _write(self, line: bytes) -> None:
        self._digest.update(line + b"\n")
        self._file.write(line + b"\n")


class HistoryReader:
    """Reads a history file event by event, and checks its digest at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        """Read the header.

        Raises:
            HistoryDamagedError: it is no history file, or one of a newer version.
        """
        self._file = file
        self._digest = RunningDigest()
        self.end: HistoryEnd | None = None
        """The last line, once all events were read."""
        self.header = _header(self._line(1))

    def __iter__(self) -> Iterator[StoredEvent]:
        """Yield the events in order.

        Raises:
            HistoryDamagedError: a line is not as it must be, or the digest at the end is another; whoever took
                events out of the file before must not use them.
        """
        number, before = 1, 0
        while self.end is None:
            number += 1
            digest = self._digest.result().digest
            line = self._line(number)
            found = _object(line, number)
            if "digest" in found:
                self.end = HistoryEnd(number - 2, digest)
                if found != {"events": number - 2, "digest": digest} or self._file.read(1):
                    raise HistoryDamagedError(f"line {number}: the digest or the number of events is wrong")
                return
            stored = _stored(line, found, number)
            if stored.sequence <= before:
                raise HistoryDamagedError(f"line {number}: sequence {stored.sequence} after {before}")
            before = stored.sequence
            yield stored

    def _line(self, number: int) -> bytes:
        line = self._file.readline(LINE_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise HistoryDamagedError(
                f"the file ends in line {number}" if line else "the last line is missing"
            )
        self._digest.update(line)
        return line[:-1]


def write_history(file: IO[bytes], header: HistoryHeader, events: Iterable[StoredEvent]) -> HistoryEnd:
    """Write a whole history file."""
    writer = HistoryWriter(file, header)
    for stored in events:
        writer.add(stored)
    return writer.end()


def read_history(file: IO[bytes]) -> tuple[HistoryHeader, Sequence[StoredEvent], HistoryEnd]:
    """Return everything in a history file, verified.

    Raises:
        HistoryDamagedError: see ``HistoryReader``.
    """
    reader = HistoryReader(file)
    events = list(reader)
    if reader.end is None:
        raise HistoryDamagedError("the last line is missing")
    return reader.header, events, reader.end


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _is_document(payload: bytes) -> bool:
    if b"\n" in payload or b"\r" in payload:
        return False
    try:
        return isinstance(json.loads(payload), dict)
    except (ValueError, RecursionError):
        return False


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise HistoryDamagedError(f"line {number} is no JSON") from error
    if not isinstance(found, dict):
        raise HistoryDamagedError(f"line {number} is no JSON object")
    return cast("dict[str, Any]", found)


def _header(line: bytes) -> HistoryHeader:
    found = _object(line, 1)
    if found.get("milepost") != FORMAT:
        raise HistoryDamagedError("line 1 is not the header of a history")
    if found.get("version") != VERSION:
        raise HistoryDamagedError(f"its format is version {found.get('version')}, known is {VERSION}")
    try:
        return HistoryHeader(
            source=str(found["source"]),
            operations=tuple(str(each) for each in found["operations"]),
            redacted=tuple(str(each) for each in found["redacted"]),
        )
    except (KeyError, TypeError) as error:
        raise HistoryDamagedError("line 1 is not the header of a history") from error


def _stored(line: bytes, found: dict[str, Any], number: int) -> StoredEvent:
    try:
        if "payload" in found:
            payload = base64.b64decode(found["payload"], validate=True)
        else:
            # The bytes as they are, not parsed and written again: they may say the same in another way.
            payload = line[line.index(_DOCUMENT) + len(_DOCUMENT) : -1]
        return StoredEvent(
            sequence=int(found["sequence"]),
            operation_id=str(found["operation_id"]),
            side=Side(found["side"]),
            name=str(found["name"]),
            payload=payload,
        )
    except (KeyError, ValueError, TypeError, binascii.Error) as error:
        raise HistoryDamagedError(f"line {number} is no event") from error
