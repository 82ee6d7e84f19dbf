"""Digests and canonical JSON: the same content gives the same bytes, and the bytes give the content back."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileDigest:
    """What the bytes of a file are."""

    digest: str
    """``sha256:`` and 64 hexadecimal digits."""
    size_bytes: int


def digest_of_bytes(content: bytes) -> str:
    """Return ``sha256:<hex>`` of the bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def digest_of_file(path: Path) -> str:
    """Return ``sha256:<hex>`` of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    return measure_file(path).digest


def measure_file(path: Path) -> FileDigest:
    """Return digest and size of a file, read once in chunks of 1 MiB.

    Raises:
        OSError: the file cannot be read.
    """
    running = RunningDigest()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            running.update(chunk)
    return running.result()


class RunningDigest:
    """Digest and size of bytes that come piece by piece."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        """How many bytes came so far."""

    def update(self, chunk: bytes) -> None:
        """Take the next bytes in."""
        self._hash.update(chunk)
        self.size_bytes += len(chunk)

    def result(self) -> FileDigest:
        """Return digest and size of everything so far."""
        return FileDigest(f"sha256:{self._hash.hexdigest()}", self.size_bytes)


def canonical_json(value: object) -> bytes:
    """Return the one JSON form of ``value``: sorted keys, compact, UTF-8.

    Floats are written with ``repr`` and so come back exact. Whatever would not come back equal is refused.

    Raises:
        ValueError: a value JSON cannot hold exactly (NaN, infinity, a tuple, a key that is no text, any other
            type); the message names the path of the first one.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        content = text.encode()
        if json.loads(text) == value:
            return content
    except (TypeError, ValueError) as error:
        raise ValueError(_first_fault(value) or f"not JSON: {error}") from error
    raise ValueError(_first_fault(value) or "the value would not come back from JSON as it is")


def _first_fault(value: object) -> str | None:
    return next(_faults(value, "$"), None)


def _faults(value: object, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in cast("dict[object, object]", value).items():
            if not isinstance(key, str):
                yield f"{path}: the key {key!r} is {type(key).__name__}, JSON has text keys only"
            yield from _faults(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[object]", value)):
            yield from _faults(item, f"{path}[{index}]")
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            yield f"{path}: {value!r} has no form in JSON; keep it as text or leave it out"
    elif isinstance(value, str):
        if not _is_unicode(value):
            yield f"{path}: the text holds a lone surrogate"
    elif value is not None and not isinstance(value, int):
        yield f"{path}: {type(value).__name__} does not come back from JSON as it is"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
