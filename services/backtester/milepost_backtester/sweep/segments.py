"""The tables of a sweep in its checkpoints: each row is stored once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from milepost_runtime.checkpoints.data import LoadedCheckpoint

from milepost_backtester.parquet import Schema, Table, pa
from milepost_backtester.segments import SegmentPlan, Segments
from milepost_backtester.sweep.engine import SweepEngine
from milepost_backtester.sweep.figures import NAMES
from milepost_backtester.tables import columns_of, logs_of, segment_schemas

_FIGURES = [
    *(pa.field(name, pa.float64(), nullable=False) for name in NAMES),
    pa.field("undefined", pa.string(), nullable=False),
]
_ACCOUNT = segment_schemas(1)
SCHEMAS: Mapping[str, Schema] = {
    "combinations": pa.schema(_FIGURES),
    "folds": pa.schema([pa.field("combination", pa.int64(), nullable=False), *_FIGURES]),
    **_ACCOUNT,
}
"""Tables by the name that their segments begin with: figures as numbers, and the joined account."""


class SweepSegments:
    """Writes and reads the tables of one sweep."""

    def __init__(self) -> None:
        self._segments = Segments(SCHEMAS)

    def plan(self, engine: SweepEngine, state: Mapping[str, Any]) -> SegmentPlan:
        """Return how to save the tables of a state; rows that must be written are copied."""

        def columns(name: str, start: int, stop: int) -> dict[str, Any]:
            match name:
                case "combinations":
                    return engine.combinations.columns(start, stop)
                case "folds":
                    return engine.forward.fold_columns(start, stop)
                case _:
                    return columns_of(engine.forward.logs, name, start, stop)

        return self._segments.plan_rows(columns, engine.lengths(state))

    def restore(self, checkpoint: LoadedCheckpoint, engine: SweepEngine) -> None:
        """Put the tables and the state of a checkpoint into an engine.

        Raises:
            CheckpointDamagedError: rows are missing.
        """
        state = checkpoint.state()
        parts = self._segments.restore_rows(checkpoint, engine.lengths(state))
        engine.combinations.clear()
        engine.combinations.extend(_joined(parts["combinations"], "combinations"))
        engine.forward.restore(
            _joined(parts["folds"], "folds"), logs_of({name: parts[name] for name in _ACCOUNT}, 1)
        )
        engine.load_state_dict(state)


def _joined(parts: list[Table], name: str) -> dict[str, Any]:
    """Return the rows of some tables by column."""
    names = SCHEMAS[name].names
    if not parts:
        return {column: [] for column in names}
    return {
        column: [value for part in parts for value in part[column].to_pylist()]
        if column == "undefined"
        else np.concatenate([part[column].to_numpy() for part in parts])
        for column in names
    }
