"""Documents that clients read: the same keys whether the rows come from Postgres or from folding the log."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from milepost_orchestrator.application.filters import POSITION
from milepost_orchestrator.application.row_making import (
    artifact_rows,
    attempt_row,
    checkpoint_row,
    operation_row,
)
from milepost_orchestrator.application.rows import ArtifactRow, AttemptRow, CheckpointRow, OperationRow
from milepost_orchestrator.domain.operation import CheckpointStatus, Operation, Status

Row: TypeAlias = Mapping[str, Any]
"""A row by column, its JSON decoded."""
Document: TypeAlias = dict[str, Any]

JSON_COLUMNS = frozenset(
    {
        "spec",
        "inputs",
        "options",
        "failure",
        "results",
        "summary",
        "problems",
        "fingerprint",
        "environment_differences",
        "changes",
        "data",
    }
)
_HIDDEN = frozenset({"sequence", POSITION})
"""Columns of a checkpoint that only the list's order needs."""
_SHORT = (
    "operation_id",
    "kind",
    "queue",
    "name",
    "status",
    "unit",
    "total_units",
    "unit_name",
    "units_per_second",
    "attempt",
    "worker_id",
    "parent_id",
    "root_id",
    "child_id",
    "relation",
    "checkpoint_id",
    "priority",
    "reason",
    "stop_at_unit",
    "requested_by",
    "requested_at",
    "started_at",
    "ended_at",
    "last_event_at",
    "newest_checkpoint_at",
    "failure",
    "results",
    "summary",
    "imported_from",
)


class OperationRows(NamedTuple):
    """Everything about one operation."""

    operation: Row
    attempts: Sequence[Row]
    checkpoints: Sequence[Row]
    artifacts: Sequence[Row]
    children: Sequence[str]


def rows_of(operation: Operation) -> OperationRows:
    """Return the rows of a state that was folded from the log, as Postgres would return them."""
    facts = operation.facts
    checkpoints = [each for each in facts.checkpoints.values() if each.status is not CheckpointStatus.DELETED]
    return OperationRows(
        operation=_decoded(operation_row(operation)),
        attempts=[_decoded(attempt_row(facts.operation_id, each)) for each in facts.attempts.values()],
        checkpoints=[_decoded(checkpoint_row(facts, each)) for each in reversed(checkpoints)],
        artifacts=[_decoded(row) for each in checkpoints for row in artifact_rows(facts.operation_id, each)],
        children=list(facts.children),
    )


def operation_document(row: Row) -> Document:
    """Return an operation in short, as in a list."""
    document = {key: _plain(row[key]) for key in _SHORT}
    document["eta_seconds"] = _eta_seconds(row)
    return document


def operation_detail(rows: OperationRows) -> Document:
    """Return an operation with its spec, attempts, checkpoints and children."""
    row = rows.operation
    return {
        **operation_document(row),
        "spec": row["spec"],
        "inputs": row["inputs"],
        "options": row["options"],
        "changes": row["changes"],
        "origin_checkpoint_id": row["origin_checkpoint_id"],
        "attempts": [_attempt_document(attempt) for attempt in rows.attempts],
        "checkpoints": checkpoint_documents(rows.checkpoints, rows.artifacts),
        "children": list(rows.children),
    }


def checkpoint_documents(checkpoints: Iterable[Row], artifacts: Iterable[Row]) -> list[Document]:
    """Return checkpoints with their artifacts."""
    by_checkpoint: dict[tuple[str, str], list[Document]] = {}
    for artifact in artifacts:
        document = {key: artifact[key] for key in ("name", "digest", "size_bytes", "media_type")}
        by_checkpoint.setdefault((artifact["operation_id"], artifact["checkpoint_id"]), []).append(document)
    return [
        {
            **{key: _plain(value) for key, value in row.items() if key not in _HIDDEN},
            "artifacts": by_checkpoint.get((row["operation_id"], row["checkpoint_id"]), []),
        }
        for row in checkpoints
    ]


def row_in_short(row: OperationRow) -> Document:
    """Return the document in short of a row that was just made; only what it shows is decoded."""
    return operation_document({key: _column(key, getattr(row, key)) for key in _SHORT})


def whole_row(row: NamedTuple) -> Document:
    """Return every column of a row that was just made."""
    return {key: _plain(_column(key, value)) for key, value in row._asdict().items()}


def json_number(value: float) -> float | str:
    """Return a number for JSON, which has no word for what is not finite."""
    if value != value:
        return "NaN"
    return value if abs(value) != float("inf") else "Infinity" if value > 0 else "-Infinity"


def _column(key: str, value: Any) -> Any:
    return json.loads(value) if key in JSON_COLUMNS and isinstance(value, str) else value


def _attempt_document(row: Row) -> Document:
    return {key: _plain(value) for key, value in row.items() if key != "operation_id"}


def _eta_seconds(row: Row) -> float | None:
    """Time left at the present rate, up to the unit at which it is to stop."""
    rate, total = row["units_per_second"], row["total_units"]
    if row["status"] not in (Status.RUNNING, Status.CANCELLING) or not rate or rate <= 0 or total is None:
        return None
    goal = total if row["stop_at_unit"] is None else min(total, row["stop_at_unit"])
    return max(goal - row["unit"], 0) / rate


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _decoded(row: OperationRow | AttemptRow | CheckpointRow | ArtifactRow) -> Row:
    return {key: _column(key, value) for key, value in row._asdict().items()}
