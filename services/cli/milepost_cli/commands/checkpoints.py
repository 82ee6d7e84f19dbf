"""``milepost checkpoints list``, ``show``, ``now``, ``pin``, ``unpin`` and ``delete``."""

from datetime import datetime
from itertools import islice
from typing import Annotated

import typer
from milepost_contracts.commands import CheckpointNow, DeleteCheckpoint, PinCheckpoint, UnpinCheckpoint
from milepost_runtime.clock import SystemClock
from rich.console import Console

from milepost_cli import reader
from milepost_cli.api import PAGE_ITEMS, Parameters
from milepost_cli.asking import Asked, asking
from milepost_cli.formatting import format_age, format_digest, format_progress, format_size, format_summary
from milepost_cli.list_options import (
    REASONS,
    AscendingOption,
    KindsOption,
    NameOption,
    NewerOption,
    OlderOption,
    WorkersOption,
    direction,
    one_of,
)
from milepost_cli.location import locate
from milepost_cli.lookup import checkpoint_id_of, operation_id_of
from milepost_cli.options import (
    CheckpointArgument,
    DirectoryOption,
    JsonOption,
    OperationArgument,
    examples,
    new_app,
)
from milepost_cli.output import notes, people, print_facts, print_json
from milepost_cli.tables import print_table

SORTS = ("saved", "size", "unit")

app = new_app()


@app.callback()
def checkpoints() -> None:
    """List checkpoints, show, save, pin and delete one."""


@app.command(
    "list",
    epilog=examples(
        "milepost checkpoints list --operation op-abc",
        "milepost checkpoints list --reason cancellation --reason failure",
        "milepost checkpoints list --older-than 30d --sort size",
    ),
)
def list_checkpoints(
    operation: Annotated[str | None, typer.Option(help="Only of this operation.")] = None,
    root: Annotated[
        str | None, typer.Option(help="Only of this operation and all that descend from it.")
    ] = None,
    kind: KindsOption = [],  # noqa: B006 - typer copies it
    reason: Annotated[
        list[str], typer.Option(help=f"Only {', '.join(REASONS)}; repeatable.", show_default=False)
    ] = [],  # noqa: B006
    status: Annotated[
        list[str], typer.Option(help="Only of this status, such as recorded; repeatable.", show_default=False)
    ] = [],  # noqa: B006
    worker: WorkersOption = [],  # noqa: B006
    name: NameOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    sort: Annotated[str, typer.Option(help=f"By {', '.join(SORTS)}.")] = SORTS[0],
    ascending: AscendingOption = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most this many.")] = 50,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """List checkpoints, the newest first."""
    for each in reason:
        one_of(each, REASONS, "--reason")
    one_of(sort, SORTS, "--sort")
    with locate(directory).api() as api:
        wanted: Parameters = {
            "operation_id": None if operation is None else operation_id_of(api, operation),
            "root_id": None if root is None else operation_id_of(api, root),
            "kind": kind,
            "reason": reason,
            "status": status,
            "worker_id": worker,
            "name": name,
            "age_seconds_min": older_than,
            "age_seconds_max": newer_than,
            "sort": sort,
            "order": direction(ascending=ascending),
            "limit": min(limit, PAGE_ITEMS),
        }
        found = list(islice(api.pages("/checkpoints", "checkpoints", wanted), limit))
    if as_json:
        print_json({"checkpoints": found})
        return
    if not found:
        notes().print("no checkpoints on record")
        return
    now = SystemClock().now()
    headings = ("ID", "OPERATION", "AT", "REASON", "SIZE", "SAVED")
    print_table(headings, [_row(item, now) for item in found], right=("SIZE",))


@app.command("show", epilog=examples("milepost checkpoints show cp-abc"))
def show_checkpoint(
    checkpoint: CheckpointArgument,
    directory: DirectoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a checkpoint with its artifacts, and the command that goes on from it."""
    with locate(directory).api() as api:
        document = api.get(f"/checkpoints/{checkpoint_id_of(api, checkpoint)}")
    if as_json:
        print_json(document)
        return
    print_facts(checkpoint_facts(document, SystemClock().now()))
    people().print()
    print_artifacts(document)
    operation_id, checkpoint_id = (
        reader.text(document, "operation_id"),
        reader.text(document, "checkpoint_id"),
    )
    notes().print(f"next: milepost resume {operation_id} --checkpoint {checkpoint_id}", soft_wrap=True)


@app.command("now", epilog=examples("milepost checkpoints now op-abc --reason 'before the machine moves'"))
@asking
def checkpoint_now(
    operation: OperationArgument,
    *,
    asked: Asked,
) -> None:
    """Save a checkpoint of a running operation at its next unit boundary."""
    with locate(asked.directory).api() as api:
        operation_id = operation_id_of(api, operation)
    asked.send(asked.command(CheckpointNow, operation_id=operation_id))


@app.command("pin", epilog=examples("milepost checkpoints pin cp-abc --reason 'for the paper'"))
@asking
def pin_checkpoint(
    checkpoint: CheckpointArgument,
    *,
    asked: Asked,
) -> None:
    """Keep a checkpoint: it cannot be deleted until it is unpinned."""
    _send(PinCheckpoint, checkpoint, asked)


@app.command("unpin", epilog=examples("milepost checkpoints unpin cp-abc"))
@asking
def unpin_checkpoint(
    checkpoint: CheckpointArgument,
    *,
    asked: Asked,
) -> None:
    """Let a checkpoint be deleted again."""
    _send(UnpinCheckpoint, checkpoint, asked)


@app.command("delete", epilog=examples("milepost checkpoints delete cp-abc --dry-run"))
@asking
def delete_checkpoint(
    checkpoint: CheckpointArgument,
    *,
    asked: Asked,
) -> None:
    """Delete a checkpoint of an operation that has ended and is not being gone on with.

    Its artifacts stay in the store, for other checkpoints may share them, until `milepost storage sweep`.
    """
    _send(DeleteCheckpoint, checkpoint, asked)


def _send(
    command_type: type[PinCheckpoint] | type[UnpinCheckpoint] | type[DeleteCheckpoint],
    typed: str,
    asked: Asked,
) -> None:
    with locate(asked.directory).api() as api:
        checkpoint_id = checkpoint_id_of(api, typed)
        operation_id = reader.text(api.get(f"/checkpoints/{checkpoint_id}"), "operation_id") or ""
    asked.send(asked.command(command_type, operation_id=operation_id, checkpoint_id=checkpoint_id))


def checkpoint_facts(document: dict[str, object], now: datetime) -> dict[str, str | None]:
    """Return a checkpoint's facts for ``print_facts``."""
    fingerprint = reader.mapping(document, "fingerprint")
    return {
        "checkpoint": reader.text(document, "checkpoint_id"),
        "operation": reader.text(document, "operation_id"),
        "kind": reader.text(document, "kind"),
        "at": _progress(document),
        "reason": reader.text(document, "reason"),
        "status": reader.text(document, "status"),
        "pinned": "yes" if document.get("pinned") else None,
        "saved": format_age(reader.moment(document, "saved_at"), now),
        "size": format_size(_size(document)),
        "manifest": reader.text(document, "manifest_key"),
        "summary": format_summary(reader.mapping(document, "summary")),
        "fingerprint": ", ".join(f"{name} {value}" for name, value in fingerprint.items()),
    }


def print_artifacts(document: dict[str, object], console: Console | None = None) -> None:
    """Print a checkpoint's artifacts, one a line."""
    artifacts = reader.objects(document, "artifacts")
    rows = [
        (
            reader.text(item, "name"),
            format_size(reader.whole(item, "size_bytes") or 0),
            format_digest(reader.text(item, "digest") or ""),
        )
        for item in artifacts
    ]
    print_table(("ARTIFACT", "SIZE", "DIGEST"), rows, right=("SIZE",), console=console)


def _row(item: dict[str, object], now: datetime) -> tuple[str | None, ...]:
    status, total = reader.text(item, "status"), reader.whole(item, "total_units")
    notes_on = [
        *([] if status in (None, "recorded") else [status]),
        *(["pinned"] if item.get("pinned") else []),
    ]
    note = f" ({', '.join(notes_on)})" if notes_on else ""
    return (
        reader.text(item, "checkpoint_id"),
        reader.text(item, "operation_id"),
        f"{reader.whole(item, 'unit') or 0:,} of {total:,}" if total else None,
        f"{reader.text(item, 'reason')}{note}",
        format_size(_size(item)),
        format_age(reader.moment(item, "saved_at"), now),
    )


def _progress(document: dict[str, object]) -> str:
    unit, total = reader.whole(document, "unit"), reader.whole(document, "total_units")
    return format_progress(unit or 0, total, reader.text(document, "unit_name"))


def _size(document: dict[str, object]) -> int:
    sizes = (reader.whole(item, "size_bytes") or 0 for item in reader.objects(document, "artifacts"))
    return reader.whole(document, "size_bytes") or sum(sizes)
