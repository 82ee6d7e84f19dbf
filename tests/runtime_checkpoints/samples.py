"""Checkpoints to save in tests: a state with awkward floats, and files written piece by piece."""

import sys
from pathlib import Path

from milepost_contracts.model import JsonObject
from milepost_runtime.checkpoints.data import CheckpointData, FileWriter

AWKWARD_FLOATS: list[float] = [0.1, 1 / 3, 1e-310, 5e-324, 1.7976931348623157e308, -0.0, 2.0**53 + 2]


class PiecewiseWriter(FileWriter):
    """Writes its bytes in pieces, with an audit event between them: a place to be killed at."""

    media_type = "application/vnd.apache.parquet"

    def __init__(self, content: bytes, pieces: int = 3) -> None:
        self._content = content
        self._pieces = pieces

    def write(self, path: Path) -> None:
        step = max(1, -(-len(self._content) // self._pieces))
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(self._content), step):
                file.write(self._content[start : start + step])
                sys.audit("milepost.test.piece")


def state_at(unit: int) -> JsonObject:
    """The state of a run after ``unit`` units."""
    return {"unit": unit, "cash": 100_000.1 - unit / 3, "floats": list(AWKWARD_FLOATS), "name": "größe ∑"}


def trades_at(unit: int) -> bytes:
    """The trade log of a run after ``unit`` units; different bytes for each unit."""
    return b"".join(f"{row},{unit * 0.1!r}\n".encode() for row in range(unit * 20))


def data_at(unit: int) -> CheckpointData:
    """A checkpoint with a state and two files."""
    return CheckpointData(
        unit=unit,
        state=state_at(unit),
        files={
            "trades.parquet": PiecewiseWriter(trades_at(unit)),
            "equity.parquet": PiecewiseWriter(trades_at(unit + 1)),
        },
        fingerprint={"engine": "1", "data": "sha256:" + "0" * 64},
        summary={"cash": 100_000.1 - unit / 3},
    )
