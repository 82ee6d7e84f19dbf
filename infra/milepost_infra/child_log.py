"""Log files of child processes: their end for error messages, and a bound on their size."""

import os
from pathlib import Path

BYTES_MAX = 8 * 1024 * 1024
TAIL_BYTES = 8 * 1024
TAIL_LINES = 15


def tail(log: Path) -> str:
    """Return the last lines of a log file; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-TAIL_LINES:])


def rotate(log: Path) -> None:
    """Keep one older log when this one is large, so that logs do not grow over many starts."""
    if log.exists() and log.stat().st_size > BYTES_MAX:
        os.replace(log, log.with_suffix(".old.log"))
