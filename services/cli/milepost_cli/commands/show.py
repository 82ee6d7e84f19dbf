"""``milepost show``."""

import asyncio
from collections.abc import Mapping
from datetime import datetime

from milepost_contracts.lineage import Relation
from milepost_runtime.clock import SystemClock

from milepost_cli import reader
from milepost_cli.api import OrchestratorApi
from milepost_cli.bus import open_bus
from milepost_cli.errors import NotFoundError
from milepost_cli.event_words import RELATIONS, changes_words, environment_words
from milepost_cli.formatting import (
    flat_items,
    format_age,
    format_duration,
    format_progress,
    format_rate,
    format_size,
    format_value,
)
from milepost_cli.location import StackLocation, locate
from milepost_cli.lookup import operation_id_of
from milepost_cli.operation_view import CheckpointView, OperationView, checkpoint_view, view_of_document
from milepost_cli.options import DirectoryOption, JsonOption, OperationArgument, examples, new_app
from milepost_cli.output import notes, print_facts, print_json
from milepost_cli.watching import resume_command

app = new_app()


@app.command(epilog=examples("milepost show op-abc", "milepost show op-abc --json"))
def show(
    operation: OperationArgument, directory: DirectoryOption = None, as_json: JsonOption = False
) -> None:
    """Show one operation.

    Status, progress, rate, time left, newest checkpoint and its age, and the command to type next.
    """
    location = locate(directory)
    with location.api() as api:
        operation_id = operation_id_of(api, operation)
        document = _document(api, location, operation_id)
    if as_json:
        print_json(document)
        return
    view = view_of_document(document)
    print_facts(_facts(view, newest_checkpoint(document)))
    print_next(view)


def newest_checkpoint(document: Mapping[str, object]) -> CheckpointView | None:
    """Return the newest checkpoint of an operation's document, None when it has none that is good."""
    for item in reader.objects(document, "checkpoints"):
        if reader.text(item, "status") != "refused":
            return checkpoint_view(item)
    return None


def print_next(view: OperationView) -> None:
    """Print the command that a person most likely wants next."""
    if view.child_id is not None:
        notes().print(f"next: milepost show {view.child_id}", soft_wrap=True)
    elif view.imported_from is not None:
        notes().print(f"next: milepost events step {view.operation_id}", soft_wrap=True)
    elif view.is_resumable:
        notes().print(f"next: {resume_command(view)}", soft_wrap=True)
    elif view.status == "completed":
        notes().print(f"next: milepost results {view.operation_id} --out results", soft_wrap=True)
    else:
        notes().print(f"next: milepost follow {view.operation_id}", soft_wrap=True)


def _document(api: OrchestratorApi, location: StackLocation, operation_id: str) -> dict[str, object]:
    try:
        return api.get(f"/operations/{operation_id}")
    except NotFoundError:
        # Read models follow the log by a moment; the log itself is never behind.
        return asyncio.run(_document_of_log(location, operation_id))


async def _document_of_log(location: StackLocation, operation_id: str) -> dict[str, object]:
    async with open_bus(location) as bus:
        return (await bus.view(operation_id)).document()


def _facts(view: OperationView, checkpoint: CheckpointView | None) -> dict[str, str | None]:
    now = SystemClock().now()
    took = None
    if view.started_at and view.ended_at:
        took = format_duration((view.ended_at - view.started_at).total_seconds())
    files = ", ".join(
        f"{reader.text(item, 'name')} ({format_size(reader.whole(item, 'size_bytes') or 0)})"
        for item in view.results
    )
    return {
        "operation": view.operation_id,
        "name": view.name,
        "kind": view.kind,
        "status": view.status,
        "waiting": view.waiting,
        "reason": view.reason if view.failure is None else None,
        "failure": _failure_words(view),
        "progress": format_progress(view.unit, view.total_units, view.unit_name),
        "rate": None if view.is_terminal else _known(format_rate(view.units_per_second, view.unit_name)),
        "time left": _known(format_duration(view.eta_seconds)),
        "attempt": str(view.attempt) if view.attempt else None,
        "worker": view.worker_id,
        "checkpoint": _checkpoint_words(view, checkpoint, now),
        "imported": f"from {view.imported_from}, for reading" if view.imported_from else None,
        RELATIONS[Relation(view.relation or "resume")]: view.parent_id,
        "changed": changes_words(view.changes),
        "environment": environment_words(view.environment_differences),
        "resumed as": view.child_id,
        "root": view.root_id if view.root_id != view.operation_id else None,
        "requested": _known(format_age(view.requested_at, now)),
        "started": _known(format_age(view.started_at, now)),
        "ended": _known(format_age(view.ended_at, now)),
        "took": took,
        "results": files,
        "stops at": f"{view.stop_at_unit:,}"
        if view.stop_at_unit is not None and not view.is_terminal
        else None,
        **{f"  {name}": format_value(value) for name, value in flat_items(view.summary)},
    }


def _checkpoint_words(view: OperationView, checkpoint: CheckpointView | None, now: datetime) -> str | None:
    if checkpoint is None:
        return f"{view.checkpoint_id} (the one it was resumed from)" if view.checkpoint_id else None
    age = format_age(checkpoint.saved_at, now)
    return f"{checkpoint.checkpoint_id} at {checkpoint.unit:,} ({checkpoint.reason}), {age}"


def _failure_words(view: OperationView) -> str | None:
    if view.failure is None:
        return None
    words = [
        reader.text(view.failure, "code"),
        reader.text(view.failure, "message"),
        reader.text(view.failure, "fix"),
    ]
    return "; ".join(word for word in words if word)


def _known(words: str) -> str | None:
    return None if words == "-" else words
