"""The parts of an operation's page that change with its events: header, checkpoints, attempts, results, marks."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from milepost_orchestrator.application.documents import Document
from milepost_orchestrator.entrypoints.dashboard.rendering import Renderer

TEMPLATES = ("operation_header.html", "operation_parts.html")


def live_parts(renderer: Renderer, document: Document, sequence: int, *, may_act: bool) -> bytes:
    """Return every part, to replace what is shown."""
    context = parts_context(document, sequence, may_act=may_act)
    return b"".join(renderer.part(template, context) for template in TEMPLATES)


def parts_context(document: Document, sequence: int, *, may_act: bool) -> dict[str, Any]:
    """Return what the parts' templates need."""
    return {
        "operation": document,
        "sequence": sequence,
        "marks": json.dumps(list(marks_of(document))),
        "may_act": may_act,
        "ended": document["ended_at"] is not None,
    }


def marks_of(document: Document) -> Iterator[Mapping[str, Any]]:
    """Yield what is marked on the curves: each attempt's beginning, each checkpoint, and a cancel."""
    for attempt in document["attempts"]:
        if attempt["start_unit"] is not None and attempt["attempt"] > 1:
            yield {"kind": "attempt", "unit": attempt["start_unit"]}
    for checkpoint in document["checkpoints"]:
        yield {"kind": "checkpoint", "unit": checkpoint["unit"]}
    if document["status"] == "cancelled":
        yield {"kind": "cancel", "unit": document["unit"]}
