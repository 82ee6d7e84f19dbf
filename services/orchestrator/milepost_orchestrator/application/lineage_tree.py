"""The tree of operations that descend from one another, with what each has otherwise than its parent."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from milepost_orchestrator.application.documents import Document, Row, operation_document

OPERATIONS_MAX = 500
CHANGES_MAX = 200
_MISSING = object()


def lineage_document(root_id: str, rows: Sequence[Row], *, more: bool) -> Document:
    """Return a tree as a flat list, parents before children; ``parent_id`` joins it."""
    by_id = {row["operation_id"]: row for row in rows}
    return {
        "root_id": root_id,
        "operations": [_node(row, by_id.get(row["parent_id"])) for row in rows],
        "more": more,
    }


def _node(row: Row, parent: Row | None) -> Document:
    changes = [] if parent is None else list(differences(parent["spec"], row["spec"]))
    return {
        **operation_document(row),
        "origin_checkpoint_id": row["origin_checkpoint_id"],
        "origin_unit": row["origin_unit"],
        "changes": changes[:CHANGES_MAX],
        "options_changes": [] if parent is None else list(differences(parent["options"], row["options"])),
    }


def differences(before: object, after: object, field: str = "") -> Iterator[Document]:
    """Yield each value that differs, by its dotted path; what is on one side only is null on the other."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        left, right = cast("Mapping[str, Any]", before), cast("Mapping[str, Any]", after)
        for name in sorted(left.keys() | right.keys()):
            path = f"{field}.{name}" if field else name
            yield from differences(left.get(name, _MISSING), right.get(name, _MISSING), path)
    elif before != after:
        yield {
            "field": field,
            "before": None if before is _MISSING else before,
            "after": None if after is _MISSING else after,
        }
